-- From demographics: the traits that came with the customer records.
INSERT INTO cdp.tag_key (key, exclusive) VALUES ('income', true), ('home', true), ('age', true);
SELECT cdp.tag(rb_build_agg(profile_id), 'income:' || (value #>> '{}'))
FROM cdp.trait_value WHERE name = 'income' GROUP BY value;
SELECT cdp.tag(rb_build_agg(profile_id), 'age:' || (value #>> '{}'))
FROM cdp.trait_value WHERE name = 'age' GROUP BY value;
SELECT cdp.tag(rb_build_agg(profile_id), CASE WHEN value #>> '{}' LIKE '%owner' THEN 'home:owner' ELSE 'home:renter' END)
FROM cdp.trait_value WHERE name = 'home_ownership' GROUP BY value #>> '{}' LIKE '%owner';

-- From behaviour: rules over the timelines.
SELECT cdp.tag(cdp.audience('count(purchase, 90d) >= 12', '2017-11-01Z'), 'frequent');
SELECT cdp.tag(cdp.audience('sum(purchase) >= 200', '2017-11-01Z'), 'big_basket');
SELECT cdp.tag(cdp.audience('labels(coupon_redeemed) >= 2', '2017-11-01Z'), 'coupon_lover');

\pset tuples_only on
\pset format unaligned
SELECT format('   %s: %s households', tag, rb_cardinality(cdp.tagged(tag)))
FROM unnest(ARRAY['income:50-74K', 'home:owner', 'frequent', 'big_basket', 'coupon_lover']) tag;
