/* SPDX-License-Identifier: ISC */
/* The few facts that the runtime wants from ACPI: interrupt controllers (MADT), power management
 * ports (FADT) and the sleep type of S5 (a byte pattern in the DSDT; no interpreter). Everything is
 * optional: without tables the defaults of a PC hold. */

#include <string.h>

#include "arch/x86_64/internal.h"
#include "core/arch.h"

#define TABLE_MAX      (1u << 20)
#define HEADER_BYTES   36u
#define IOAPIC_DEFAULT UINT64_C(0xfec00000)

static struct acpi_facts facts;

const struct acpi_facts *acpi_facts(void)
{
	return &facts;
}

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)le16(p) | (uint32_t)le16(p + 2) << 16;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* The whole table, mapped, or NULL. */
static const uint8_t *table_at(uint64_t phys, uint32_t *len)
{
	const uint8_t *t = core_map_firmware(phys, HEADER_BYTES);

	if (t == NULL)
		return NULL;
	*len = le32(t + 4);
	if (*len < HEADER_BYTES || *len > TABLE_MAX)
		return NULL;
	return core_map_firmware(phys, *len);
}

static void madt_entry(const uint8_t *e, uint8_t len)
{
	if (e[0] == 1 && len >= 12 && facts.ioapics < ACPI_IOAPICS_MAX) {
		facts.ioapic[facts.ioapics].base = le32(e + 4);
		facts.ioapic[facts.ioapics++].gsi_base = le32(e + 8);
	} else if (e[0] == 2 && len >= 10 && e[2] == 0 && e[3] < 16) {
		facts.isa_gsi[e[3]] = (uint16_t)le32(e + 4);
		facts.isa_level[e[3]] = (le16(e + 8) & 0xc) == 0xc;
	} else if (e[0] == 5 && len >= 12) {
		facts.lapic = le64(e + 4);
	}
}

static void read_madt(const uint8_t *t, uint32_t len)
{
	if (len < 44)
		return;
	facts.lapic = le32(t + 36);
	for (uint32_t at = 44; len - at >= 2 && t[at + 1] >= 2 && t[at + 1] <= len - at;
	     at += t[at + 1])
		madt_entry(t + at, t[at + 1]);
}

/* \_S5_ is a package whose first element is a small integer: find name, package, element. */
static void read_dsdt(uint64_t phys)
{
	uint32_t len;
	const uint8_t *t = table_at(phys, &len);

	if (t == NULL)
		return;
	for (uint32_t i = HEADER_BYTES; i + 10 < len; i++) {
		if (memcmp(t + i, "_S5_\x12", 5) != 0)
			continue;
		const uint8_t *p = t + i + 5;
		p += (*p >> 6) + 1 + 1; /* package length, element count */
		if (p + 1 >= t + len)
			return;
		if (*p == 0x0a)
			facts.s5 = p[1] & 7;
		else if (*p <= 1)
			facts.s5 = *p;
		return;
	}
}

static void read_fadt(const uint8_t *t, uint32_t len)
{
	if (len < 116)
		return;
	facts.sci = le16(t + 46);
	facts.smi_command = (uint16_t)le32(t + 48);
	facts.acpi_enable = t[52];
	facts.pm1a_event = (uint16_t)le32(t + 56);
	facts.pm1a_control = (uint16_t)le32(t + 64);
	facts.pm_timer = (uint16_t)le32(t + 76);
	facts.hardware_reduced = (le32(t + 112) & (UINT32_C(1) << 20)) != 0;
	if (facts.hardware_reduced) {
		facts.pm1a_event = facts.pm1a_control = facts.pm_timer = 0;
		if (len >= 256 && t[244] == 0) /* in memory space */
			facts.sleep_control = le64(t + 248);
	}
	read_dsdt(len >= 148 && le64(t + 140) != 0 ? le64(t + 140) : le32(t + 40));
}

static void read_root(uint64_t phys, unsigned entry_bytes)
{
	uint32_t len, table_len;
	const uint8_t *root = table_at(phys, &len);

	if (root == NULL)
		return;
	for (uint32_t at = HEADER_BYTES; len - at >= entry_bytes; at += entry_bytes) {
		uint64_t entry = entry_bytes == 8 ? le64(root + at) : le32(root + at);
		const uint8_t *t = table_at(entry, &table_len);
		if (t != NULL && memcmp(t, "APIC", 4) == 0)
			read_madt(t, table_len);
		else if (t != NULL && memcmp(t, "FACP", 4) == 0)
			read_fadt(t, table_len);
	}
}

void acpi_init(void)
{
	const uint64_t rsdp_at = core_boot()->rsdp;
	const uint8_t *rsdp = rsdp_at == 0 ? NULL : core_map_firmware(rsdp_at, HEADER_BYTES);

	for (unsigned i = 0; i < 16; i++)
		facts.isa_gsi[i] = (uint16_t)i;
	if (rsdp != NULL && memcmp(rsdp, "RSD PTR ", 8) == 0) {
		if (rsdp[15] >= 2 && le64(rsdp + 24) != 0)
			read_root(le64(rsdp + 24), 8);
		else
			read_root(le32(rsdp + 16), 4);
	}
	if (facts.ioapics == 0) {
		facts.ioapic[0].base = IOAPIC_DEFAULT;
		facts.ioapics = 1;
	}
}
