/* SPDX-License-Identifier: ISC */
/* "Name <mail> seconds zone" in its parts, with dates as git-log(1), "--date", writes them. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "git/fetch/pretty.h"

enum { DAY_S = 86400, ZONE_DIGITS_MAX = 6 };
#define TIME_MAX INT64_C(253402300799) /* the end of year 9999 */

struct person {
	struct bole_bytes name;
	struct bole_bytes mail;
	struct bole_bytes seconds; /* empty: no date that can be read */
	int64_t time_s;
	int zone; /* -730 is half past seven, west */
};

static bool is_space(uint8_t ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r' || ch == '\v' || ch == '\f';
}

static bool is_digit(uint8_t ch)
{
	return ch >= '0' && ch <= '9';
}

static struct bole_bytes take_digits(struct bole_bytes *rest)
{
	struct bole_bytes digits = {rest->ptr, 0};

	while (digits.len < rest->len && is_digit(rest->ptr[digits.len]))
		digits.len++;
	*rest = bole_bytes_of(rest->ptr + digits.len, rest->len - digits.len);
	return digits;
}

static void skip_spaces(struct bole_bytes *rest)
{
	while (rest->len > 0 && is_space(rest->ptr[0]))
		*rest = bole_bytes_of(rest->ptr + 1, rest->len - 1);
}

static int64_t number(struct bole_bytes digits)
{
	int64_t value = 0;

	for (size_t i = 0; i < digits.len && value <= TIME_MAX; i++)
		value = value * 10 + (digits.ptr[i] - '0');
	return value <= TIME_MAX ? value : 0;
}

/* What stands behind the last '>'. */
static void split_date(struct bole_bytes rest, struct person *out)
{
	skip_spaces(&rest);
	struct bole_bytes seconds = take_digits(&rest);
	if (seconds.len == 0)
		return;
	skip_spaces(&rest);
	if (rest.len == 0 || (rest.ptr[0] != '+' && rest.ptr[0] != '-'))
		return;
	int sign = rest.ptr[0] == '-' ? -1 : 1;
	rest = bole_bytes_of(rest.ptr + 1, rest.len - 1);
	struct bole_bytes zone = take_digits(&rest);
	if (zone.len == 0)
		return;
	out->seconds = seconds;
	out->time_s = number(seconds);
	out->zone = zone.len > ZONE_DIGITS_MAX ? 0 : sign * (int)number(zone);
}

static bool split(struct bole_bytes line, struct person *out)
{
	const uint8_t *open = line.len == 0 ? NULL : memchr(line.ptr, '<', line.len);

	*out = (struct person){.zone = 0};
	if (open == NULL)
		return false;
	size_t at = (size_t)(open - line.ptr);
	const uint8_t *close = memchr(open + 1, '>', line.len - at - 1);
	if (close == NULL)
		return false;
	out->name = bole_bytes_of(line.ptr, at);
	while (out->name.len > 0 && is_space(out->name.ptr[out->name.len - 1]))
		out->name.len--;
	out->mail = bole_bytes_of(open + 1, (size_t)(close - open - 1));
	size_t end = line.len;
	while (line.ptr[end - 1] != '>')
		end--;
	split_date(bole_bytes_of(line.ptr + end, line.len - end), out);
	return true;
}

/* -- Dates -- */

struct civil {
	int64_t year;
	int month; /* from 1 */
	int day;
	int weekday; /* from Sunday, 0 */
	int hour, minute, second;
	int zone;
};

/* Days to dates in the proleptic Gregorian calendar, with years that begin in March. */
static struct civil civil_of(const struct person *p)
{
	int minutes = p->zone < 0 ? -p->zone : p->zone;
	int64_t shift = (int64_t)(minutes / 100 * 60 + minutes % 100) * 60;
	int64_t t = p->time_s + (p->zone < 0 ? -shift : shift);
	int64_t days = t / DAY_S - (t % DAY_S < 0);
	int64_t of_day = t - days * DAY_S;
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;
	int64_t weekday = (days + 4) % 7;

	return (struct civil){
	        .year = y + era * 400 + (m >= 10),
	        .month = (int)(m < 10 ? m + 3 : m - 9),
	        .day = (int)(of_year - (153 * m + 2) / 5 + 1),
	        .weekday = (int)(weekday < 0 ? weekday + 7 : weekday),
	        .hour = (int)(of_day / 3600),
	        .minute = (int)(of_day / 60 % 60),
	        .second = (int)(of_day % 60),
	        .zone = p->zone,
	};
}

static const char *const weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void put_strict(const struct civil *c, struct bole_buffer *out)
{
	int zone = c->zone < 0 ? -c->zone : c->zone;

	bole_buffer_format(out, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d", c->year, c->month, c->day,
	                   c->hour, c->minute, c->second);
	if (zone == 0)
		bole_buffer_text(out, "Z");
	else
		bole_buffer_format(out, "%c%02d:%02d", c->zone < 0 ? '-' : '+', zone / 100,
		                   zone % 100);
}

static void put_ago(struct bole_buffer *out, int64_t count, const char *unit)
{
	bole_buffer_format(out, "%" PRId64 " %s%s ago", count, unit, count == 1 ? "" : "s");
}

/* Rounded to a unit that leaves a number with meaning, as Git rounds. */
static void put_relative(int64_t time_s, int64_t now_s, struct bole_buffer *out)
{
	int64_t diff = now_s - time_s;

	if (diff < 0) {
		bole_buffer_text(out, "in the future");
		return;
	}
	if (diff < 90) {
		put_ago(out, diff, "second");
		return;
	}
	int64_t minutes = (diff + 30) / 60, hours = (minutes + 30) / 60, days = (hours + 12) / 24;
	int64_t all_months = (days * 12 * 2 + 365) / (365 * 2);

	if (minutes < 90) {
		put_ago(out, minutes, "minute");
	} else if (hours < 36) {
		put_ago(out, hours, "hour");
	} else if (days < 14) {
		put_ago(out, days, "day");
	} else if (days < 70) {
		put_ago(out, (days + 3) / 7, "week");
	} else if (days < 365) {
		put_ago(out, (days + 15) / 30, "month");
	} else if (days >= 1825) {
		put_ago(out, (days + 183) / 365, "year");
	} else if (all_months % 12 == 0) {
		put_ago(out, all_months / 12, "year");
	} else {
		int64_t years = all_months / 12;
		bole_buffer_format(out, "%" PRId64 " year%s, ", years, years == 1 ? "" : "s");
		put_ago(out, all_months % 12, "month");
	}
}

static bool put_date(const struct person *p, char part, int64_t now_s, struct bole_buffer *out)
{
	struct civil c = civil_of(p);

	switch (part) {
	case 'd':
		bole_buffer_format(out, "%s %s %d %02d:%02d:%02d %" PRId64 " %+05d",
		                   weekdays[c.weekday], months[c.month - 1], c.day, c.hour,
		                   c.minute, c.second, c.year, c.zone);
		return true;
	case 'D':
		bole_buffer_format(out, "%s, %d %s %" PRId64 " %02d:%02d:%02d %+05d",
		                   weekdays[c.weekday], c.day, months[c.month - 1], c.year, c.hour,
		                   c.minute, c.second, c.zone);
		return true;
	case 'i':
		bole_buffer_format(out, "%04" PRId64 "-%02d-%02d %02d:%02d:%02d %+05d", c.year,
		                   c.month, c.day, c.hour, c.minute, c.second, c.zone);
		return true;
	case 'I': put_strict(&c, out); return true;
	case 's':
		bole_buffer_format(out, "%04" PRId64 "-%02d-%02d", c.year, c.month, c.day);
		return true;
	case 'r': put_relative(p->time_s, now_s, out); return true;
	case 't': bole_buffer_append(out, p->seconds.ptr, p->seconds.len); return true;
	default: return false;
	}
}

bool bole_pretty_person(struct bole_bytes line, char part, int64_t now_s, struct bole_buffer *out)
{
	static const char known[] = "nNeElLtdDrisI";
	struct person p;

	if (part == '\0' || strchr(known, part) == NULL)
		return false;
	if (!split(line, &p))
		return true;
	const uint8_t *at = p.mail.len == 0 ? NULL : memchr(p.mail.ptr, '@', p.mail.len);
	/* Upper case asks for the name in a .mailmap; there is none here. */
	if (part == 'n' || part == 'N')
		bole_buffer_append(out, p.name.ptr, p.name.len);
	else if (part == 'e' || part == 'E')
		bole_buffer_append(out, p.mail.ptr, p.mail.len);
	else if (part == 'l' || part == 'L')
		bole_buffer_append(out, p.mail.ptr,
		                   at == NULL ? p.mail.len : (size_t)(at - p.mail.ptr));
	else if (p.seconds.len > 0)
		return put_date(&p, part, now_s, out);
	return true;
}
