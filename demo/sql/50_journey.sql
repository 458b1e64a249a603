\pset tuples_only on
\pset format unaligned
-- Households that used to come often and now stay away for 45 days: a letter,
-- and a voucher a week later if they have not come back.
SELECT format('   journey "win_back", version %s', cdp.create_journey('win_back', '{
	"entry":	{"enters": "lifecycle:at_risk", "when": "count(purchase) >= 4", "reentry": "once"},
	"exit":		[{"on": "purchase"}],
	"campaign":	"win_back_2017",
	"start":	"letter",
	"steps": {
		"letter":	{"send": {"channel": "mail", "template": "we_miss_you"}, "next": "week"},
		"week":		{"wait": "7d", "next": "back"},
		"back":		{"if": "count(purchase, 7d) = 0", "then": "voucher", "else": "end"},
		"voucher":	{"send": {"channel": "mail", "template": "voucher", "params": {"household": "{{profile_id}}"}}, "next": "end"}
	}}'));
SELECT cdp.activate_journey('win_back');
