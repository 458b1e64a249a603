/* 40_outbox_bounce: addresses that do not work
 *
 * A channel that reports "bounced" says that nothing will ever arrive at that
 * address.  No more messages go there, on that channel: send steps take the
 * newest address that has not bounced, and claims refuse what was decided
 * before.  A new address is not affected.
 *
 * The row goes when the same message turns out to have reached somebody, when
 * an operator deletes it, and when the profile is erased.  It is about the
 * address, so a merge or unmerge leaves it alone.
 */

CREATE TABLE cdp.bounced_address (
	channel		text NOT NULL,
	address		text NOT NULL,
	at			timestamptz NOT NULL,
	profile_id	bigint NOT NULL,
	outbox_id	bigint NOT NULL,
	detail		text,
	PRIMARY KEY (channel, address)
);
COMMENT ON TABLE cdp.bounced_address IS 'addresses to which a channel could not deliver for good: nothing is sent there any more; delete a row to try again';
COMMENT ON COLUMN cdp.bounced_address.profile_id IS 'to whom the message was that bounced';
CREATE INDEX bounced_address_profile_id_idx ON cdp.bounced_address (profile_id);
CREATE INDEX bounced_address_outbox_id_idx ON cdp.bounced_address (outbox_id);

CREATE FUNCTION cdp._note_bounces(ids bigint[], at timestamptz, detail text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO cdp.bounced_address (channel, address, at, profile_id, outbox_id, detail)
	SELECT DISTINCT ON (o.channel, o.address) o.channel, o.address, _note_bounces.at, o.recipient_id, o.id, _note_bounces.detail
	FROM cdp.outbox o WHERE o.id = ANY (ids) AND o.address IS NOT NULL
	ORDER BY o.channel, o.address, o.id
	ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION cdp._note_bounces(bigint[], timestamptz, text) IS 'from now on nothing goes to the addresses of these messages';

CREATE FUNCTION cdp._has_bounced(of_profile bigint, of_channel text) RETURNS boolean
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	RETURN EXISTS (
		SELECT FROM cdp.channel_effective c, cdp.profile p
		CROSS JOIN LATERAL (SELECT l.identifier FROM cdp.identifier_link l WHERE l.profile_id = p.profile_id OFFSET 0) l
		CROSS JOIN LATERAL (SELECT FROM cdp.bounced_address b WHERE b.channel = of_channel AND b.address = cdp.value(l.identifier) LIMIT 1) b
		WHERE c.name = of_channel AND p.canonical_id = of_profile AND cdp.namespace(l.identifier) = c.namespace);
END
$$;
COMMENT ON FUNCTION cdp._has_bounced(bigint, text) IS 'has an address of a canonical profile on a channel bounced?';
