# A physical replica answers every question that changes nothing, refuses the
# others clearly, and a primary that it becomes goes on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use World;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off");
$primary->start;
$primary->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
World::build($primary, 'postgres');
$primary->backup('base');		# pg_basebackup

my $replica = PostgreSQL::Test::Cluster->new('replica');
$replica->init_from_backup($primary, 'base', has_streaming => 1);		# as with -R
$replica->start;

# What happens after the copy arrives too.
$primary->safe_psql('postgres', q{SELECT track('{user_id:9}', 'Kauf', '{"value": 3}', '2026-02-17 06:00Z', 'streamed'), tag(resolve('user_id:9'), 'vip', at => '2026-02-17 06:00Z')});
$primary->safe_psql('postgres', q{CALL cdp.run('2026-02-17 07:00Z')});
$primary->safe_psql('postgres', q{SELECT track('{user_id:8}', 'Kauf', '{"value": 3}', '2026-02-17 08:00Z', 'unfolded there'), set_trait(resolve('user_id:8'), 'age', '33', '2026-02-17 08:00Z')});
$primary->wait_for_catchup($replica, 'replay', $primary->lsn('insert'));

my %question = World::questions($primary, 'postgres');
# Sequences are ahead there: values are logged in batches.
for my $name (sort grep { !/_seq$/ } keys %question)
{
	is($replica->safe_psql('postgres', $question{$name}), $primary->safe_psql('postgres', $question{$name}), "$name: the same on the replica");
}

# Every public function that is not volatile can be called there.
my %call = (
	aarrr => "aarrr(timeline_of(5), '2026-02-18Z')", audience => "audience('vip', '2026-02-18Z')", audience_count => "audience_count('vip', '2026-02-18Z')",
	audience_explain => "audience_explain('vip')", audience_identifiers => "audience_identifiers('{1,2}', 'email', 'marketing', at => '2026-02-18Z')",
	audience_with_suppressed => "audience_with_suppressed('vip', '2026-02-18Z')", canonical_id => 'canonical_id(1)', connected_components => "connected_components('SELECT ''a'', ''b''')",
	component_sizes => "component_sizes('SELECT ''a'', ''b''')",
	consented => "consented(1, 'marketing', 'email', '2026-02-18Z')", explain_match => "explain_match(1, 'vip', '2026-02-18Z')", export_profile => 'export_profile(1)', export_records => 'export_records(1)',
	has_tag => "has_tag(3, 'vip')", identity_graph => 'identity_graph(1)', journey_diagram => "journey_diagram('hello')", journey_lift => "journey_lift('hello')",
	journey_path => 'journey_path(1)', journey_results => "journey_results('hello')", journey_stats => "journey_stats('hello')", lifecycle => "lifecycle(timeline_of(5), '2026-02-18Z')",
	lifecycle_at => "lifecycle_at(5, '2026-02-18Z')", lifecycle_due => "lifecycle_due(timeline_of(5), '2026-02-18Z')", lifecycle_explain => "lifecycle_explain(5, '2026-02-18Z')",
	lifecycle_flow => "lifecycle_flow('2026-01-01Z', '2026-02-18Z')", matches => "matches(5, 'count(purchase) > 0 & trial', '2026-02-18Z')", matches_with_suppressed => "matches_with_suppressed(5, 'vip', '2026-02-18Z')",
	matching_labels => "matching_labels(5, 'count(purchase[\$]) > 0', '2026-02-18Z')", overlap => "overlap('vip', 'buyers')", related => "related(3, 'customer', '2026-02-18Z')",
	resolve => "resolve('user_id:1')", rfm => "rfm('SELECT profile_id, timeline FROM profile_timeline', '2026-02-18Z')", rfm_of => "rfm_of('default', '2026-02-18Z')", rfm_segment_of => "rfm_segment_of('555')",
	role_events => "role_events('purchase')", segment_members => "segment_members('buyers')", sequence_count => "sequence_count('{}', 'a', '2026-02-18Z')", sequence_match => "sequence_match('{}', 'a', '2026-02-18Z')",
	simulate_merge => 'simulate_merge(1, 5)', simulate_rules => 'simulate_rules()', status => "status('2026-02-18Z')", tagged => "tagged('vip')", tags_of => 'tags_of(5)', timeline_of => 'timeline_of(5)',
	trait => "trait(1, 'age')", trait_avg => "trait_avg('age')", trait_count => "trait_count('age')", trait_first_date => "trait_first_date('born')", trait_last_date => "trait_last_date('born')",
	trait_max => "trait_max('age')", trait_min => "trait_min('age')", trait_quantile => "trait_quantile('age', 0.5)", trait_range => "trait_range('age', 1, 99)", trait_sum => "trait_sum('age')", trait_top => "trait_top('age', 3)",
	why_linked => "why_linked('user_id:1', 'email:user1\@example.com')", why_message => 'why_message(1)', why_no_message => "why_no_message(5, 'hello', '2026-02-18Z')",
	window_funnel => "window_funnel('{}', '{a}', '1 d', '')");
for my $f (split /\n/, $primary->safe_psql('postgres', q{SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'cdp'::regnamespace AND prokind = 'f' AND provolatile = 's' AND proname !~ '^_' ORDER BY 1}))
{
	ok(exists $call{$f}, "a call of $f") or next;
	my $query = "SELECT x::text FROM $call{$f} x ORDER BY 1";
	my ($here, $there) = map { my ($ret, $out, $err) = $_->psql('postgres', $query); $ret . $out . ($err =~ s/^psql:<stdin>:\d+: //r) } ($primary, $replica);
	is($there, $here, "$f answers as on the primary");
	unlike($there, qr/read-only|recovery/, "$f needs no writing");
}

# What writes says that it cannot, and nothing crashes.
for my $call (q{track('{user_id:1}', 'x')}, q{identify('{user_id:new}')}, q{ingest('{"type": "identify", "userId": "1"}')}, 'ingest_inbox()', q{tag(5, 'vip')}, q{tag('{5}'::bitmap, 'vip')},
	q{set_trait(5, 'age', '1')}, q{consent(5, 'a', 'b', true)}, q{define_segment('x', 'vip')}, 'refresh_segments()', q{create_journey('x', '{"entry": {"manual": true}, "start": "w", "steps": {"w": {"wait": "1d", "next": "end"}}}')}, 'advance_journeys()',
	q{claim_messages('email', 1)}, 'merge(1, 5)', 'tick()', q{rebuild('all')}, q{erase_profile(5)}, q{grant_role(current_user, 'reader')}, q{import_events('SELECT ''user_id:1'' AS identifier, ''x'' AS event, now() AS at', 'x')}, q{simulate_journey('hello')})
{
	my ($ret, $out, $err) = $replica->psql('postgres', "SELECT $call");
	like($err, qr/read-only transaction|during recovery/, "$call is refused") or diag($err, $out);
}
is($replica->safe_psql('postgres', q{SELECT identify('{user_id:1}') = resolve('user_id:1')}), 't', 'identify finds who is known');
my ($ret, $out, $err) = $replica->psql('postgres', 'CALL cdp.run()');
like($err, qr/read-only transaction|during recovery/, 'run is refused') or diag($err, $out);

# The primary is lost: the replica takes over.
$primary->stop('immediate');
$replica->promote;
my $next = World::next_day();
isnt($replica->safe_psql('postgres', $next), '', 'a promoted replica goes on');
is($replica->safe_psql('postgres', 'SELECT count(*) FROM task_state WHERE failing'), '0', 'and all tasks work');
done_testing();
