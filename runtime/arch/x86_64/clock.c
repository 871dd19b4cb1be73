/* SPDX-License-Identifier: ISC */
/* Time: the time stamp counter, its rate from CPUID or measured for a millisecond against the best
 * reference at hand, and the CMOS clock for the date. Also the bounded halt. */

#include "arch/x86_64/cpu.h"
#include "arch/x86_64/internal.h"
#include "arch/x86_64/port.h"
#include "core/arch.h"

#define NS_PER_S   UINT64_C(1000000000)
#define MEASURE_NS 1000000u
/* 40 ms at 1 GHz, so less than a PIT takes to wrap; a reference that does not move costs this. */
#define MEASURE_TSC_MAX  UINT64_C(40000000)
#define MEASURE_ATTEMPTS 8
#define PM_TIMER_HZ      3579545u
#define PIT_HZ           1193182u
#define HALT_MAX_NS      UINT64_C(2000000000)
#define HALT_MIN_NS      500u
#define CMOS_FRESH_NS    (64 * NS_PER_S)

#define CPUID_HYPERVISOR (UINT32_C(1) << 31)

extern const uint64_t arch_entry_tsc;

static uint64_t tsc_mult = UINT64_C(1) << 31; /* ns = ticks * mult >> 32; at first 2 GHz */
static uint64_t tsc_hz;
static uint64_t armed_ns; /* when the timer interrupt is due, 0 = not armed */

static uint64_t scale(uint64_t ticks, uint64_t mult)
{
	return (uint64_t)((__extension__(unsigned __int128) ticks * mult) >> 32);
}

uint64_t arch_now_ns(void)
{
	return scale(cpu_tsc() - arch_entry_tsc, tsc_mult);
}

static uint64_t rate_from_cpuid(void)
{
	uint32_t top = cpu_id(0).a;
	struct cpu_id r;

	if (top >= 0x15) {
		r = cpu_id(0x15);
		if (r.a != 0 && r.b != 0 && r.c != 0)
			return (uint64_t)r.c * r.b / r.a;
	}
	if ((cpu_id(1).c & CPUID_HYPERVISOR) != 0 && cpu_id(0x40000000).a >= 0x40000010) {
		r = cpu_id(0x40000010);
		if (r.a != 0) {
			if (r.b != 0)
				apic_timer_hz = (uint64_t)r.b * 1000;
			return (uint64_t)r.a * 1000;
		}
	}
	return 0;
}

/* True where the local APIC's timer is known to count nanoseconds: QEMU's TCG, and KVM. */
static bool apic_rate_known(void)
{
	struct cpu_id r;

	if ((cpu_id(1).c & CPUID_HYPERVISOR) == 0)
		return false;
	r = cpu_id(0x40000000);
	return (r.b == UINT32_C(0x54474354) && r.c == UINT32_C(0x43544743)) || /* TCGTCGTC */
	       (r.b == UINT32_C(0x4b4d564b) && r.c == UINT32_C(0x564b4d56));   /* KVMKVMKV */
}

static uint32_t pm_ticks(void)
{
	return port_in32(acpi_facts()->pm_timer) & 0xffffff;
}

static uint32_t pit_ticks(void)
{
	uint32_t low;

	port_out8(0x43, 0x80); /* latch channel 2 */
	low = port_in8(0x42);
	return 0xffffffu & (0u - (low | (uint32_t)port_in8(0x42) << 8));
}

static void pit_start(void)
{
	port_out8(0x61, (uint8_t)((port_in8(0x61) & ~2) | 1));
	port_out8(0x43, 0xb4); /* channel 2, both bytes, rate generator */
	port_out8(0x42, 0);
	port_out8(0x42, 0);
}

static uint32_t apic_ticks(void)
{
	return 0u - apic_timer_count();
}

struct reference {
	uint32_t (*ticks)(void);
	uint32_t mask;
	uint64_t hz;
};

/* Reads both clocks close together: the best of a few tries. */
static uint32_t read_pair(const struct reference *ref, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;
	uint32_t value = 0;

	for (unsigned i = 0; i < 5; i++) {
		uint64_t before = cpu_tsc();
		uint32_t v = ref->ticks();
		uint64_t after = cpu_tsc();
		if (after - before < best) {
			best = after - before;
			value = v;
			*tsc = before + (after - before) / 2;
		}
	}
	return value;
}

/* 0: the reference stands still. The host may leave us without a processor in the middle: then the
 * ticks may have come late, or the reference have wrapped (a PIT does after 55 ms), so what took
 * longer than it should is measured again. */
static uint64_t measure(const struct reference *ref)
{
	const uint64_t wanted = ref->hz * MEASURE_NS / NS_PER_S;
	uint64_t rate = 0;

	for (int attempt = 0; attempt < MEASURE_ATTEMPTS; attempt++) {
		uint64_t tsc0, tsc1;
		uint32_t apic0 = apic_timer_count(), from = read_pair(ref, &tsc0), passed;

		do
			passed = (ref->ticks() - from) & ref->mask;
		while (passed < wanted && cpu_tsc() - tsc0 < MEASURE_TSC_MAX);
		passed = (read_pair(ref, &tsc1) - from) & ref->mask;
		if (passed == 0)
			return rate;
		if (passed < wanted)
			continue;
		if (ref->ticks != apic_ticks)
			apic_timer_hz = (uint64_t)(apic0 - apic_timer_count()) * ref->hz / passed;
		rate = (tsc1 - tsc0) * ref->hz / passed;
		if (tsc1 - tsc0 < MEASURE_TSC_MAX)
			break;
	}
	return rate;
}

void arch_clock_init(void)
{
	const struct reference apic = {apic_ticks, UINT32_MAX, apic_timer_hz};
	const struct reference pm = {pm_ticks, 0xffffff, PM_TIMER_HZ};
	const struct reference pit = {pit_ticks, 0xffff, PIT_HZ};

	tsc_hz = rate_from_cpuid();
	if (tsc_hz == 0) {
		apic_timer_start(UINT32_MAX);
		if (!apic_rate_known() && acpi_facts()->pm_timer != 0)
			tsc_hz = measure(&pm);
		if (tsc_hz == 0 && !apic_rate_known()) {
			pit_start();
			tsc_hz = measure(&pit);
		}
		if (tsc_hz == 0)
			tsc_hz = measure(&apic);
		apic_timer_start(0);
	}
	if (tsc_hz < 1000000 || apic_timer_hz < 1000000)
		core_panic("no usable clock");
	tsc_mult = (NS_PER_S << 32) / tsc_hz;
}

void apic_timer_fired(void)
{
	armed_ns = 0;
}

void arch_idle_until(uint64_t deadline_ns)
{
	uint64_t now = arch_now_ns(), wait;

	if (deadline_ns <= now)
		return;
	wait = deadline_ns - now;
	if (deadline_ns != CORE_NEVER && (armed_ns <= now || armed_ns > deadline_ns)) {
		wait = wait > HALT_MAX_NS ? HALT_MAX_NS : wait;
		wait = wait < HALT_MIN_NS ? HALT_MIN_NS : wait;
		armed_ns = now + wait;
		apic_timer_start((uint32_t)(wait * (apic_timer_hz / 1000000) / 1000));
	}
	arch_idle();
}

void core_spin_ns(uint64_t ns)
{
	uint64_t until = arch_now_ns() + ns;

	while (arch_now_ns() < until)
		cpu_pause();
}

/* ---- the date ---- */

static uint8_t cmos(uint8_t reg)
{
	port_out8(0x70, reg | 0x80);
	return port_in8(0x71);
}

static unsigned decimal(uint8_t v, bool binary)
{
	return binary ? v : (v >> 4) * 10u + (v & 15u);
}

/* Days since 1970-01-01 in the Gregorian calendar. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
	if (month <= 2)
		year--;
	int64_t era = year / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool cmos_read(int64_t *s)
{
	uint8_t raw[7], again;
	unsigned tries = 0;

	if (cmos(0x0d) == 0xff || (cmos(0x0d) & 0x80) == 0)
		return false;
	do {
		static const uint8_t regs[7] = {0, 2, 4, 7, 8, 9, 0x32};
		if (++tries > 1000)
			return false;
		for (unsigned i = 0; i < 7; i++)
			raw[i] = cmos(regs[i]);
		again = cmos(0);
	} while ((cmos(0x0a) & 0x80) != 0 || again != raw[0]);
	bool binary = (cmos(0x0b) & 4) != 0, hours24 = (cmos(0x0b) & 2) != 0;
	bool afternoon = !hours24 && (raw[2] & 0x80) != 0;
	unsigned second = decimal(raw[0], binary), minute = decimal(raw[1], binary);
	unsigned hour = decimal(raw[2] & (hours24 ? 0xff : 0x7f), binary);
	unsigned day = decimal(raw[3], binary), month = decimal(raw[4], binary);
	unsigned century = decimal(raw[6], binary);
	unsigned year =
	        decimal(raw[5], binary) + (century >= 19 && century <= 21 ? century * 100 : 2000);

	if (!hours24)
		hour = hour % 12 + (afternoon ? 12 : 0);
	if (second > 60 || minute > 59 || hour > 23 || day < 1 || day > 31 || month < 1 ||
	    month > 12)
		return false;
	*s = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
	return true;
}

bool arch_wall_s(int64_t *s)
{
	static int64_t base_s;
	static uint64_t base_ns;
	static bool known;
	uint64_t now = arch_now_ns();

	if (!known || now - base_ns > CMOS_FRESH_NS) {
		int64_t fresh;
		if (!cmos_read(&fresh))
			return false;
		base_s = fresh;
		base_ns = now;
		known = true;
	}
	*s = base_s + (int64_t)((now - base_ns) / NS_PER_S);
	return true;
}

bool arch_random64(uint64_t *out)
{
	uint8_t ok = 0;

	if (cpu_id(0).a >= 7 && (cpu_id(7).b & (UINT32_C(1) << 18)) != 0)
		for (unsigned i = 0; i < 100 && ok == 0; i++)
			__asm__ volatile("rdseed %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
	if (ok == 0 && (cpu_id(1).c & (UINT32_C(1) << 30)) != 0)
		for (unsigned i = 0; i < 100 && ok == 0; i++)
			__asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
	return ok != 0;
}
