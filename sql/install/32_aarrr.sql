
/* 32_aarrr: AARRR by the roles that events have in event_role */

CREATE FUNCTION cdp.role_events(role text) RETURNS text[]
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce(array_agg(DISTINCT coalesce(r.as_event, r.event)), '{}')
	FROM cdp.event_role_effective r WHERE r.role = role_events.role;
END;
COMMENT ON FUNCTION cdp.role_events(text) IS 'names in timelines of the events that have a role';

-- Over many rows pass the arrays from uncorrelated subqueries: they are read once.
CREATE FUNCTION cdp.aarrr(t cdp.timeline, at timestamptz,
	OUT acquired_at timestamptz, OUT activated_at timestamptz, OUT retained_at timestamptz,
	OUT revenue_at timestamptz, OUT referral_at timestamptz) RETURNS record
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT a.* FROM cdp.aarrr(t, at, cdp.role_events('activation'), cdp.role_events('purchase'), cdp.role_events('referral'),
							  cdp.role_events('message')) a;
END;
COMMENT ON FUNCTION cdp.aarrr(cdp.timeline, timestamptz)
	IS 'AARRR by the roles activation, purchase and referral; events of role message are sent, not done';
