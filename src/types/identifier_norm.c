/*-------------------------------------------------------------------------
 *
 * identifier_norm.c
 *	  The canonical form of an identifier.
 *
 * Input is "namespace:value".  The namespace is everything before the first
 * colon: ASCII letters (folded to lower case), digits, "_", "." and "-".  The
 * value is everything after it, without the white space around it; it is not
 * empty and has no control characters.  Some namespaces have rules of their
 * own:
 *
 *		email	the whole address is folded to lower case (ASCII letters; the
 *				part before the @ too, as practically every provider does);
 *				exactly one @ with something on both sides, no blanks inside
 *		phone	blanks, ".", "-", "(" and ")" are dropped and a leading "00"
 *				becomes "+"; digits are left, with "+" before them when the
 *				country code was given; then "(0)", the trunk prefix for callers
 *				from within the country, is dropped
 *		device_id, idfa, idfv, gaid, android.*, ios.*
 *				a UUID is folded to lower case: platforms differ in how they
 *				write it
 *		*.md5, *.sha1, *.sha256
 *				a value of hexadecimal digits is folded to lower case
 *
 * All other values stay as they are.  Only ASCII is looked at: in every
 * server encoding the bytes of other characters have the high bit set, so the
 * result depends on neither locale nor encoding.  The canonical form of a
 * canonical form is itself.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/identifier_norm.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/identifier.h"

static inline bool
is_blank(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static inline unsigned char
to_lower(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') ? c + ('a' - 'A') : c;
}

static bool
refuse(McdpBadInput *bad, const char *reason, size_t offset)
{
	bad->reason = reason;
	bad->offset = offset;
	return false;
}

/*
 * Words that programs write where they have no address and no number, folded
 * in place.  They are taken, so that what comes with them is taken, too; all
 * are seeded in blocked_value and link nobody.
 */
static bool
normalise_nothing(char *value, size_t len)
{
	static const char *const words[] = {
		"null", "(null)", "nil", "none", "nan", "n/a", "undefined", "unknown", "anonymous", "guest",
		"true", "false", "not set", "-1", "[object object]"
	};

	for (size_t w = 0; w < lengthof(words); w++)
	{
		size_t		i = 0;

		if (strlen(words[w]) != len)
			continue;
		while (i < len && to_lower(value[i]) == (unsigned char) words[w][i])
			i++;
		if (i == len)
		{
			memcpy(value, words[w], len);
			return true;
		}
	}
	return false;
}

/*
 * Fold the value[0 .. len) of an e-mail address in place.
 */
static bool
normalise_email(char *value, size_t len, McdpBadInput *bad, size_t offset)
{
	size_t		at = len;

	if (normalise_nothing(value, len))
		return true;
	for (size_t i = 0; i < len; i++)
	{
		if (is_blank(value[i]))
			return refuse(bad, "An e-mail address has no blanks inside.", offset + i);
		if (value[i] == '@')
		{
			if (at < len)
				return refuse(bad, "An e-mail address has exactly one \"@\".", offset + i);
			at = i;
		}
		value[i] = (char) to_lower(value[i]);
	}
	if (at == len)
		return refuse(bad, "An e-mail address has exactly one \"@\".", offset);
	if (at == 0 || at == len - 1)
		return refuse(bad, "An e-mail address has something on both sides of the \"@\".", offset + at);
	return true;
}

/*
 * Reduce the value[0 .. *len) of a telephone number in place.
 */
static bool
normalise_phone(char *value, size_t *len, McdpBadInput *bad, size_t offset)
{
	size_t		n = 0;

	if (normalise_nothing(value, *len))
		return true;
	for (size_t i = 0; i < *len; i++)
	{
		char		c = value[i];
		bool		international = n > 0 && (value[0] == '+' || (n >= 2 && value[0] == '0' && value[1] == '0'));

		if (international && *len - i >= 3 && memcmp(value + i, "(0)", 3) == 0)
		{
			i += 2;
			continue;
		}
		if (is_blank(c) || c == '.' || c == '-' || c == '(' || c == ')')
			continue;
		if (!is_digit(c) && !(c == '+' && n == 0))
			return refuse(bad, "A telephone number has digits, blanks, dots, dashes and parentheses only, with one \"+\" at most before them.", offset + i);
		value[n++] = c;
	}

	/* The international prefix of most countries. */
	if (n >= 2 && value[0] == '0' && value[1] == '0')
	{
		value[0] = '+';
		memmove(value + 1, value + 2, n - 2);
		n--;
	}
	if (n == 0 || (n == 1 && value[0] == '+'))
		return refuse(bad, "A telephone number has at least one digit.", offset);
	*len = n;
	return true;
}

static inline bool
is_hex(unsigned char c)
{
	c = to_lower(c);
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* Eight, four, four, four and twelve hexadecimal digits with dashes between. */
static bool
is_uuid(const char *value, size_t len)
{
	if (len != 36)
		return false;
	for (size_t i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? value[i] != '-' : !is_hex(value[i]))
			return false;
	return true;
}

static bool
is_all_hex(const char *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_hex(value[i]))
			return false;
	return true;
}

static bool
namespace_is(const char *ns, size_t ns_len, const char *name)
{
	return ns_len == strlen(name) && memcmp(ns, name, ns_len) == 0;
}

static bool
namespace_starts(const char *ns, size_t ns_len, const char *name)
{
	return ns_len > strlen(name) && memcmp(ns, name, strlen(name)) == 0;
}

static bool
namespace_ends(const char *ns, size_t ns_len, const char *name)
{
	return ns_len > strlen(name) && memcmp(ns + ns_len - strlen(name), name, strlen(name)) == 0;
}

static bool
names_device(const char *ns, size_t ns_len)
{
	return namespace_is(ns, ns_len, "device_id") ||
		namespace_is(ns, ns_len, "idfa") || namespace_is(ns, ns_len, "idfv") ||
		namespace_is(ns, ns_len, "gaid") ||
		namespace_starts(ns, ns_len, "android.") || namespace_starts(ns, ns_len, "ios.");
}

static bool
names_hash(const char *ns, size_t ns_len)
{
	return namespace_ends(ns, ns_len, ".md5") || namespace_ends(ns, ns_len, ".sha1") ||
		namespace_ends(ns, ns_len, ".sha256");
}

/*
 * Write the canonical form of in[0 .. len) to out, which has room for
 * MCDP_IDENTIFIER_MAX bytes, and its length to *out_len (no terminator).
 *
 * Returns false and sets *bad if the input is not an identifier.
 */
bool
mcdp_identifier_normalise(const char *in, size_t len,
						  char *out, size_t *out_len, McdpBadInput *bad)
{
	size_t		start = 0;
	size_t		colon;
	size_t		ns_len;
	size_t		value_start;
	size_t		value_len;
	char	   *value;

	while (start < len && is_blank(in[start]))
		start++;
	for (colon = start; colon < len && in[colon] != ':'; colon++)
	{
		unsigned char c = to_lower(in[colon]);
		size_t		at = colon - start;

		if (!((c >= 'a' && c <= 'z') || is_digit(c) || c == '_' || c == '.' || c == '-'))
		{
			/* Without any colon the missing namespace is what matters. */
			if (memchr(in + colon, ':', len - colon) == NULL)
				return refuse(bad, "An identifier has the form namespace:value.", colon);
			return refuse(bad, "A namespace has ASCII letters, digits, \"_\", \".\" and \"-\" only.", colon);
		}
		if (at >= MCDP_NAMESPACE_MAX)
			return refuse(bad, "A namespace has at most 63 bytes.", colon);
		out[at] = (char) c;
	}
	if (colon == len)
		return refuse(bad, "An identifier has the form namespace:value.", len);
	ns_len = colon - start;
	if (ns_len == 0)
		return refuse(bad, "The namespace is empty.", colon);
	out[ns_len] = ':';

	value_start = colon + 1;
	while (value_start < len && is_blank(in[value_start]))
		value_start++;
	while (len > value_start && is_blank(in[len - 1]))
		len--;
	value_len = len - value_start;
	if (value_len == 0)
		return refuse(bad, "The value is empty.", value_start);
	if (ns_len + 1 + value_len > MCDP_IDENTIFIER_MAX)
		return refuse(bad, "An identifier has at most 512 bytes.", MCDP_IDENTIFIER_MAX);

	value = out + ns_len + 1;
	for (size_t i = 0; i < value_len; i++)
	{
		unsigned char c = in[value_start + i];

		if (c < ' ' || c == 0x7f)
			return refuse(bad, "The value has a control character.", value_start + i);
		value[i] = (char) c;
	}

	if (namespace_is(out, ns_len, "email"))
	{
		if (!normalise_email(value, value_len, bad, value_start))
			return false;
	}
	else if (namespace_is(out, ns_len, "phone"))
	{
		if (!normalise_phone(value, &value_len, bad, value_start))
			return false;
	}
	else if ((names_device(out, ns_len) && is_uuid(value, value_len)) ||
			 (names_hash(out, ns_len) && is_all_hex(value, value_len)))
	{
		for (size_t i = 0; i < value_len; i++)
			value[i] = (char) to_lower(value[i]);
	}

	*out_len = ns_len + 1 + value_len;
	return true;
}
