/* Fuzz target: the text of an identifier. */
#include "fuzz.h"

#include "types/identifier.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	static const char *const seeds[] = {
		"email:Ada@Example.COM", "phone:+44 (0)20 7946-0000", "phone:0086138", "user_id:42", "anonymous_id: x y ",
		"phone:0", "phone:011 49 30", "device_id:B5372DB0-C21E-11E4-8DFC-AA07A5B093DB", "email.sha256:ABCDEF01",
		"store:SH-001", "a:b:c", "user_id:\xe5\xbc\xa0\xe4\xb8\x89", "x.y-z:\xf0\x9f\x98\x80"
	};
	const char *s = seeds[fuzz_below(lengthof(seeds))];

	memcpy(out, s, strlen(s));
	return strlen(s);
}

/* A number has its country code then, and what is none has not changed: both keep it in every region. */
static void
phone_of_region(const char *number, size_t len)
{
	static const char *const names[] = {"DE", "HU", "IT", "RU", "US", "AD", "ZW"};
	char		once[MCDP_IDENTIFIER_MAX + MCDP_PHONE_PREFIX_MAX];
	size_t		once_len = len;
	size_t		again;

	memcpy(once, number, len);
	if (!mcdp_phone_international(once, &once_len, names[fuzz_below(lengthof(names))]))
		fuzz_fail("the region is known");
	again = once_len;
	if (once_len > len + MCDP_PHONE_PREFIX_MAX ||
		(once[0] != '+' && (once_len != len || memcmp(once, number, len) != 0)))
		fuzz_fail("a number has its country code or stays as it is");
	if (!mcdp_phone_international(once, &again, "FR") || again != once_len)
		fuzz_fail("a number with its country code stays as it is");
	if (mcdp_phone_international(once, &again, "XX") || mcdp_phone_international(once, &again, ""))
		fuzz_fail("there is no such region");
}

bool
fuzz_one(const uint8 *bytes, size_t len)
{
	char		once[MCDP_IDENTIFIER_MAX];
	char		twice[MCDP_IDENTIFIER_MAX];
	size_t		once_len;
	size_t		twice_len;
	McdpBadInput bad;

	if (!mcdp_identifier_normalise((const char *) bytes, len, once, &once_len, &bad))
	{
		if (bad.reason == NULL || bad.offset > len)
			fuzz_fail("a refusal says why and where");
		return false;
	}
	if (!mcdp_identifier_normalise(once, once_len, twice, &twice_len, &bad) ||
		once_len != twice_len || memcmp(once, twice, once_len) != 0)
		fuzz_fail("the canonical form of a canonical form is itself");
	if (once_len > 6 && memcmp(once, "phone:", 6) == 0)
		phone_of_region(once + 6, once_len - 6);
	return true;
}
