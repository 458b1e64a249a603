/*-------------------------------------------------------------------------
 *
 * identifier_phone.c
 *	  A telephone number as it is written within a country, in the
 *	  international form of ITU-T E.164: "+", country code, national number.
 *
 * A region is two letters of ISO 3166-1.  Each has a country code (ITU-T
 * E.164) and the trunk prefix that is dialled before a national number from
 * within the country and left out from abroad (ITU-T E.123; none where it
 * belongs to the number, as in Italy).  A number that says its country, with
 * "+" or "00", keeps it whatever the region.  What stands for no number (a
 * word, zeros, one digit seven times or more) stays as it is: with a code
 * before it blocked_value would not know it.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/identifier_phone.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/identifier.h"

typedef struct Region
{
	char		name[3];
	char		code[4];
	char		trunk[3];
} Region;

/* ascending by name */
static const Region regions[] = {
	{"AD", "376", ""},
	{"AE", "971", "0"},
	{"AF", "93", "0"},
	{"AG", "1", "1"},
	{"AI", "1", "1"},
	{"AL", "355", "0"},
	{"AM", "374", "0"},
	{"AR", "54", "0"},
	{"AS", "1", "1"},
	{"AT", "43", "0"},
	{"AU", "61", "0"},
	{"BA", "387", "0"},
	{"BB", "1", "1"},
	{"BD", "880", "0"},
	{"BE", "32", "0"},
	{"BG", "359", "0"},
	{"BH", "973", ""},
	{"BM", "1", "1"},
	{"BO", "591", "0"},
	{"BR", "55", "0"},
	{"BS", "1", "1"},
	{"CA", "1", "1"},
	{"CH", "41", "0"},
	{"CI", "225", ""},
	{"CL", "56", ""},
	{"CM", "237", ""},
	{"CN", "86", "0"},
	{"CO", "57", ""},
	{"CR", "506", ""},
	{"CU", "53", "0"},
	{"CY", "357", ""},
	{"CZ", "420", ""},
	{"DE", "49", "0"},
	{"DK", "45", ""},
	{"DM", "1", "1"},
	{"DO", "1", "1"},
	{"DZ", "213", "0"},
	{"EC", "593", "0"},
	{"EE", "372", ""},
	{"EG", "20", "0"},
	{"ES", "34", ""},
	{"ET", "251", "0"},
	{"FI", "358", "0"},
	{"FR", "33", "0"},
	{"GB", "44", "0"},
	{"GD", "1", "1"},
	{"GE", "995", "0"},
	{"GG", "44", "0"},
	{"GH", "233", "0"},
	{"GR", "30", ""},
	{"GT", "502", ""},
	{"GU", "1", "1"},
	{"HK", "852", ""},
	{"HN", "504", ""},
	{"HR", "385", "0"},
	{"HU", "36", "06"},
	{"ID", "62", "0"},
	{"IE", "353", "0"},
	{"IL", "972", "0"},
	{"IM", "44", "0"},
	{"IN", "91", "0"},
	{"IQ", "964", "0"},
	{"IR", "98", "0"},
	{"IS", "354", ""},
	{"IT", "39", ""},
	{"JE", "44", "0"},
	{"JM", "1", "1"},
	{"JO", "962", "0"},
	{"JP", "81", "0"},
	{"KE", "254", "0"},
	{"KH", "855", "0"},
	{"KN", "1", "1"},
	{"KR", "82", "0"},
	{"KW", "965", ""},
	{"KY", "1", "1"},
	{"KZ", "7", "8"},
	{"LA", "856", "0"},
	{"LB", "961", "0"},
	{"LC", "1", "1"},
	{"LI", "423", ""},
	{"LK", "94", "0"},
	{"LU", "352", ""},
	{"LV", "371", ""},
	{"LY", "218", "0"},
	{"MA", "212", "0"},
	{"MC", "377", ""},
	{"MD", "373", "0"},
	{"ME", "382", "0"},
	{"MK", "389", "0"},
	{"MM", "95", "0"},
	{"MO", "853", ""},
	{"MP", "1", "1"},
	{"MS", "1", "1"},
	{"MT", "356", ""},
	{"MX", "52", ""},
	{"MY", "60", "0"},
	{"NG", "234", "0"},
	{"NI", "505", ""},
	{"NL", "31", "0"},
	{"NO", "47", ""},
	{"NP", "977", "0"},
	{"NZ", "64", "0"},
	{"OM", "968", ""},
	{"PA", "507", ""},
	{"PE", "51", "0"},
	{"PH", "63", "0"},
	{"PK", "92", "0"},
	{"PL", "48", ""},
	{"PR", "1", "1"},
	{"PT", "351", ""},
	{"PY", "595", "0"},
	{"QA", "974", ""},
	{"RO", "40", "0"},
	{"RS", "381", "0"},
	{"RU", "7", "8"},
	{"SA", "966", "0"},
	{"SD", "249", "0"},
	{"SE", "46", "0"},
	{"SG", "65", ""},
	{"SI", "386", "0"},
	{"SK", "421", "0"},
	{"SM", "378", ""},
	{"SN", "221", ""},
	{"SV", "503", ""},
	{"SX", "1", "1"},
	{"SY", "963", "0"},
	{"TC", "1", "1"},
	{"TH", "66", "0"},
	{"TN", "216", ""},
	{"TR", "90", "0"},
	{"TT", "1", "1"},
	{"TW", "886", "0"},
	{"TZ", "255", "0"},
	{"UA", "380", "0"},
	{"UG", "256", "0"},
	{"US", "1", "1"},
	{"UY", "598", "0"},
	{"VA", "39", ""},
	{"VC", "1", "1"},
	{"VE", "58", "0"},
	{"VG", "1", "1"},
	{"VI", "1", "1"},
	{"VN", "84", "0"},
	{"YE", "967", "0"},
	{"ZA", "27", "0"},
	{"ZM", "260", "0"},
	{"ZW", "263", "0"}
};

static bool
is_nothing(const char *number, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (number[i] < '0' || number[i] > '9')
			return true;		/* a word, as in identifier_norm.c */
		if (number[i] != number[0])
			return false;
	}
	return number[0] == '0' || len >= 7;
}

/*
 * number[0 .. *len) is the value of a phone: identifier in canonical form, in
 * a buffer with room for MCDP_PHONE_PREFIX_MAX more bytes.  Returns false if
 * the region is unknown.
 */
bool
mcdp_phone_international(char *number, size_t *len, const char *region)
{
	size_t		low = 0;
	size_t		high = lengthof(regions);
	const Region *found;
	size_t		code_len;
	size_t		trunk_len;

	while (low < high)
	{
		size_t		middle = (low + high) / 2;

		if (strcmp(regions[middle].name, region) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == lengthof(regions) || strcmp(regions[low].name, region) != 0)
		return false;
	if (number[0] == '+' || is_nothing(number, *len))
		return true;

	found = &regions[low];
	code_len = strlen(found->code);
	trunk_len = strlen(found->trunk);
	/* how North America dials abroad; no number there begins with 0 */
	if (strcmp(found->code, "1") == 0 && *len > 3 && memcmp(number, "011", 3) == 0)
	{
		number[0] = '+';
		memmove(number + 1, number + 3, *len - 3);
		*len -= 2;
		return true;
	}
	/* the prefix alone is no number */
	if (trunk_len > 0 && *len > trunk_len && memcmp(number, found->trunk, trunk_len) == 0)
	{
		memmove(number, number + trunk_len, *len - trunk_len);
		*len -= trunk_len;
	}
	memmove(number + 1 + code_len, number, *len);
	number[0] = '+';
	memcpy(number + 1, found->code, code_len);
	*len += 1 + code_len;
	return true;
}
