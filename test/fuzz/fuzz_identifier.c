/* Fuzz target: the text of an identifier. */
#include "fuzz.h"

#include "types/identifier.h"

size_t
fuzz_valid(uint8 *out, size_t max)
{
	static const char *const seeds[] = {
		"email:Ada@Example.COM", "phone:+44 (0)20 7946-0000", "phone:0086138", "user_id:42", "anonymous_id: x y ",
		"store:SH-001", "a:b:c", "user_id:\xe5\xbc\xa0\xe4\xb8\x89", "x.y-z:\xf0\x9f\x98\x80"
	};
	const char *s = seeds[fuzz_below(lengthof(seeds))];

	memcpy(out, s, strlen(s));
	return strlen(s);
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
	return true;
}
