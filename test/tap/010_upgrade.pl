# ALTER EXTENSION UPDATE: what is upgraded equals what is new, data stay, the
# old SQL works with the new library until then.
#
# Nothing has been released yet.  So that the way is tested before it is needed,
# version 0.0.9 is made here out of the script of today by taking things away,
# one of each kind, and its update script gives them back.  Later releases
# replace it: sql/updates and test/releases (see CONTRIBUTING.md).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use World;

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off");
$node->start;

# Where does this server look for scripts?
my $conf = slurp_file($ENV{TEMP_CONFIG} // '/dev/null');
chomp(my $sharedir = `pg_config --sharedir`);
my $dir = $conf =~ /^extension_destdir = '(.*)'/m ? "$1$sharedir/extension" : $conf =~ /^extension_control_path = '([^:]*)/m ? "$1/extension" : "$sharedir/extension";
my ($version) = slurp_file("$dir/marketing_cdp.control") =~ /^default_version = '(.*)'/m;
my $new = slurp_file("$dir/marketing_cdp--$version.sql");
plan skip_all => "cannot write into $dir" unless -w $dir;

# --- version 0.0.9 and its update --------------------------------------------
my $old = $new;
my $update = qq{\\echo Use "ALTER EXTENSION marketing_cdp UPDATE" to load this file. \\quit\nDO \$\$ BEGIN PERFORM cdp._check_library('$version'); END \$\$;\n};

# take(PATTERN): what the old version does not have, word for word
sub take
{
	my ($what) = @_;
	my $n = () = $old =~ /$what/g;
	$n == 1 or BAIL_OUT("$n times in the script: $what");
	$old =~ s/($what)//;
	$update .= "$1\n";
}
# change(NEW, OLD, UPDATE): what was different
sub change
{
	my ($is, $was, $sql) = @_;
	my $n = () = $old =~ /\Q$is\E/g;
	$n == 1 or BAIL_OUT("$n times in the script: $is");
	$old =~ s/\Q$is\E/$was/;
	$update .= "$sql\n";
}
change("_check_library('$version'); END", "_check_library('0.0.9'); END", '');
take(qr/CREATE INDEX relation_b_idx [^;]*;/);
take(qr/CREATE VIEW cdp\.segment_status .*?;\nCOMMENT ON VIEW cdp\.segment_status [^;]*;\nCOMMENT ON COLUMN cdp\.segment_status\.behind [^;]*;/s);
take(qr/CREATE AGGREGATE cdp\.cohort_agg\(s cdp\.cohort_state\) .*?;\nCOMMENT ON AGGREGATE cdp\.cohort_agg\(cdp\.cohort_state\) [^;]*;/s);
take(qr/CREATE TRIGGER trait_value_queue_delete [^;]*;/);
change("\tlast_error_at\ttimestamptz\n", '', 'ALTER TABLE cdp.task_state ADD COLUMN last_error_at timestamptz;');
$old =~ s/\tlast_sqlstate\ttext,/\tlast_sqlstate\ttext/;
take(qr/COMMENT ON COLUMN cdp\.task_state\.last_error_at [^;]*;/);
change("\tcontext\t\t\tjsonb NOT NULL DEFAULT '{}',\n\tsource", "\tcontext\t\t\tjsonb,\n\tsource",
	q{UPDATE cdp.event SET context = '{}' WHERE context IS NULL; ALTER TABLE cdp.event ALTER context SET DEFAULT '{}', ALTER context SET NOT NULL;});
change("RESTRICT = neqsel, JOIN = neqjoinsel\n);\nCOMMENT ON OPERATOR cdp.<> (cdp.identifier", "RESTRICT = eqsel\n);\nCOMMENT ON OPERATOR cdp.<> (cdp.identifier",
	'ALTER OPERATOR cdp.<> (cdp.identifier, cdp.identifier) SET (RESTRICT = neqsel, JOIN = neqjoinsel);');
my ($seed) = $new =~ /(\('Product Viewed',[^)]*\)),\n/ or BAIL_OUT('no such seeded row');
change("\t$seed,\n", '', "INSERT INTO cdp.event_role (event, as_event, role, label_key, value_key, items_key, seeded) VALUES $seed;");
my ($related) = $new =~ /(CREATE FUNCTION cdp\.related\(.*?\nEND;\n)/s or BAIL_OUT('no such function');
(my $was = $related) =~ s/ORDER BY other.canonical_id;/ORDER BY other.canonical_id DESC;/;
(my $replace = $related) =~ s/CREATE/CREATE OR REPLACE/;
change($related, $was, $replace);
# a whole module, with a table, and what the last one says about all of them
my ($module) = $new =~ m{(/\* 89_privilege.*?)/\* 90_grants}s or BAIL_OUT('no such module');
change($module, '', $module);
$update .= $1 if $new =~ m{(/\* 90_grants.*)}s;

my %file = ("marketing_cdp--0.0.9.sql" => $old, "marketing_cdp--0.0.9--$version.sql" => $update,
	# what a library that is too old says: the script of a version to come
	'marketing_cdp--99.0.sql' => $new =~ s/_check_library\('[^']*'\); END/_check_library('99.0'); END/r);
for my $name (keys %file)
{
	open my $f, '>', "$dir/$name" or die "$dir/$name: $!";
	print $f $file{$name};
	close $f;
}

# --- 1: the same objects ------------------------------------------------------
my $members = q{
	WITH member AS (
		SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
		WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'marketing_cdp')),
	rel AS (SELECT c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid)
	SELECT 'member', pg_describe_object(classid, objid, objsubid), obj_description(objid, classid::regclass::name) FROM member
	UNION ALL SELECT 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid AND p.prokind <> 'a'
	UNION ALL SELECT 'aggregate', a.aggfnoid::regprocedure::text, concat_ws(' ', a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggtranstype::regtype, a.agginitval) FROM member m JOIN pg_aggregate a ON m.classid = 'pg_proc'::regclass AND m.objid = a.aggfnoid
	UNION ALL SELECT 'column', r.relname || '.' || a.attname, concat_ws(' ', a.attnum - (SELECT count(*) FROM pg_attribute d WHERE d.attrelid = r.oid AND d.attisdropped AND d.attnum < a.attnum), format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage, a.attcompression, a.attidentity, a.attgenerated,
		a.attcollation::regcollation, pg_get_expr(f.adbin, f.adrelid), col_description(r.oid, a.attnum), a.attacl)
		FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef f ON f.adrelid = r.oid AND f.adnum = a.attnum
	UNION ALL SELECT 'table', r.relname, concat_ws(' ', r.relkind, r.relpersistence, r.relrowsecurity, r.reloptions, r.relacl, CASE WHEN r.relkind = 'v' THEN pg_get_viewdef(r.oid) END,
		(SELECT condition FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS x (oid, condition) WHERE e.extname = 'marketing_cdp' AND x.oid = r.oid)) FROM rel r
	UNION ALL SELECT 'sequence', r.relname, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqcache, s.seqcycle) FROM rel r JOIN pg_sequence s ON s.seqrelid = r.oid
	UNION ALL SELECT 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM rel r JOIN pg_index i ON i.indrelid = r.oid
	UNION ALL SELECT 'constraint', r.relname || '.' || c.conname, pg_get_constraintdef(c.oid) FROM rel r JOIN pg_constraint c ON c.conrelid = r.oid
	UNION ALL SELECT 'trigger', r.relname || '.' || t.tgname, pg_get_triggerdef(t.oid) FROM rel r JOIN pg_trigger t ON t.tgrelid = r.oid
	UNION ALL SELECT 'policy', r.relname || '.' || p.polname, pg_get_expr(p.polqual, p.polrelid) FROM rel r JOIN pg_policy p ON p.polrelid = r.oid
	UNION ALL SELECT 'operator', o.oid::regoperator::text, concat_ws(' ', o.oprcode, o.oprrest, o.oprjoin, o.oprcom::regoperator, o.oprnegate::regoperator, o.oprcanhash, o.oprcanmerge) FROM member m JOIN pg_operator o ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
	UNION ALL SELECT 'cast', c.castsource::regtype || ' ' || c.casttarget::regtype, concat_ws(' ', c.castfunc::regprocedure, c.castcontext, c.castmethod) FROM member m JOIN pg_cast c ON m.classid = 'pg_cast'::regclass AND m.objid = c.oid
	UNION ALL SELECT 'type', t.typname, concat_ws(' ', t.typlen, t.typalign, t.typstorage, t.typinput, t.typoutput, t.typreceive, t.typsend, t.typacl, (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)) FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
	UNION ALL SELECT 'operator class member', pg_describe_object('pg_amop'::regclass, a.oid, 0), '' FROM pg_amop a JOIN member m ON m.classid = 'pg_opfamily'::regclass AND m.objid = a.amopfamily
	UNION ALL SELECT 'seed', 'event_role', t::text FROM cdp.event_role t UNION ALL SELECT 'seed', 'namespace_rule', t::text FROM cdp.namespace_rule t
	UNION ALL SELECT 'seed', 'blocked_value', t::text FROM cdp.blocked_value t UNION ALL SELECT 'seed', 'lifecycle_policy', t::text FROM cdp.lifecycle_policy t
	UNION ALL SELECT 'seed', 'purpose', t::text FROM cdp.purpose t UNION ALL SELECT 'seed', 'rfm_segment', t::text FROM cdp.rfm_segment t};
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(fresh upgraded);
$node->safe_psql('fresh', "CREATE EXTENSION marketing_cdp; SET search_path = pg_catalog; CREATE TABLE public.member AS $members");
$node->safe_psql('upgraded', q{CREATE EXTENSION marketing_cdp VERSION '0.0.9'});
my $rows = q{SELECT * FROM public.member ORDER BY 1, 2, 3};
my $compare = sub {
	$node->safe_psql('upgraded', "SET search_path = pg_catalog; DROP TABLE IF EXISTS public.member; CREATE TABLE public.member AS $members");
	my %there = map { $_ => 1 } split /\n(?=member|function|aggregate|column|table|sequence|index|constraint|trigger|policy|operator|cast|type|seed)/, $node->safe_psql('upgraded', $rows);
	my %here = map { $_ => 1 } split /\n(?=member|function|aggregate|column|table|sequence|index|constraint|trigger|policy|operator|cast|type|seed)/, $node->safe_psql('fresh', $rows);
	return join "\n", (map { "- $_" } grep { !$there{$_} } sort keys %here), (map { "+ $_" } grep { !$here{$_} } sort keys %there);
};
my $difference = $compare->();
for my $kind (qw(member function aggregate column table index trigger operator policy seed))
{
	like($difference, qr/^[-+] $kind\|/m, "0.0.9 differs in a $kind");
}

# --- 3: the old SQL with the new library --------------------------------------
$node->safe_psql('upgraded', q{DROP TABLE public.member});
World::build($node, 'upgraded');
my %question = World::questions($node, 'upgraded');
delete $question{'~status'};		# asks for the new column
my %before = map { $_ => $node->safe_psql('upgraded', $question{$_}) } keys %question;
isnt($before{'~timelines'}, '', 'version 0.0.9 works with the library of today');

# --- 2 and 4: data of every type and table stay, stored forms are read ---------
$node->safe_psql('upgraded', 'ALTER EXTENSION marketing_cdp UPDATE');
is($node->safe_psql('upgraded', q{SELECT extversion FROM pg_extension WHERE extname = 'marketing_cdp'}), $version, "upgraded to $version");
for my $name (sort keys %question)
{
	my $after = $node->safe_psql('upgraded', $question{$name});
	$after =~ s/,\)$/)/mg if $name eq 'task_state';		# the new column
	$after =~ s/^\("Product Viewed",.*\n//m if $name eq 'event_role';		# the new row
	is($after, $before{$name}, "$name: the same after the upgrade");
}
is($node->safe_psql('upgraded', q{SELECT count(*) FROM event_role WHERE seeded AND event = 'Product Viewed'}), '1', 'a new seeded row');
isnt($node->safe_psql('upgraded', q{SELECT * FROM status('2026-02-18Z')}), '', 'what is new works');
$node->safe_psql('upgraded', World::next_day());
is($node->safe_psql('upgraded', q{SELECT count(*) FROM task_state WHERE failing}), '0', 'and what happens next');
# what was there before counts as the user's: seeded rows only
$node->safe_psql('upgraded', q{DELETE FROM event_role WHERE NOT seeded; DELETE FROM namespace_rule WHERE NOT seeded; DELETE FROM blocked_value WHERE NOT seeded;
	DELETE FROM lifecycle_policy WHERE NOT seeded; DELETE FROM purpose WHERE NOT seeded});
is($compare->(), '', 'an upgraded database has the objects of a new one');

# --- 5 is 002_dump_restore; of an upgraded database too -------------------------
my $dump = $node->backup_dir . '/dump.sql';
mkdir $node->backup_dir;
command_ok([ 'pg_dump', '-d', $node->connstr('upgraded'), '-f', $dump ], 'dump of an upgraded database');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'and its restore');
is($node->safe_psql('restored', 'SELECT count(*) FROM cdp.event'), $node->safe_psql('upgraded', 'SELECT count(*) FROM cdp.event'), 'with its events');

# --- privileges: whoever has a level gets what is new, and a dump keeps all of it --
# (a GRANT in a script of an extension counts as its own: pg_dump leaves it out)
my $privileges = q{
	SELECT o.name, coalesce(r.rolname, 'PUBLIC'), a.privilege_type
	FROM (SELECT c.oid::regclass::text, c.relacl FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace
		  UNION ALL SELECT p.oid::regprocedure::text, p.proacl FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace
		  UNION ALL SELECT n.nspname, n.nspacl FROM pg_namespace n WHERE n.nspname = 'cdp') o (name, acl),
		aclexplode(o.acl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE (r.rolname IS NULL OR r.rolname LIKE 'regress%') AND a.privilege_type <> 'MAINTAIN' ORDER BY 1, 2, 3};		# since 17
$node->safe_psql('upgraded', q{CREATE ROLE regress_analyst; CREATE ROLE regress_admin; CREATE ROLE regress_user;
	SELECT grant_role('regress_analyst', 'analyst'), grant_role('regress_admin', 'admin');
	GRANT EXECUTE ON FUNCTION cdp.tick TO regress_user; GRANT SELECT ON cdp.profile TO regress_user; GRANT CREATE ON SCHEMA cdp TO regress_user; REVOKE SELECT ON cdp.journey FROM regress_analyst});
my %had = map { $_ => 1 } split /\n/, $node->safe_psql('upgraded', $privileges);
my ($grants) = $new =~ m{(/\* 90_grants.*)}s;
my $script = "marketing_cdp--$version--$version.1.sql";
$file{$script} = "CREATE TABLE cdp.later (a int); CREATE FUNCTION cdp._later() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE RETURN 1;\n$grants";
append_to_file("$dir/$script", $file{$script});
$node->safe_psql('upgraded', qq{ALTER EXTENSION marketing_cdp UPDATE TO '$version.1'});
my $after = $node->safe_psql('upgraded', $privileges);
my %has = map { $_ => 1 } split /\n/, $after;
is(join(' ', grep { !$has{$_} } sort keys %had), '', 'what was granted stays');
is(join(' ', grep { !$had{$_} } sort keys %has), join(' ', '_later()|regress_admin|EXECUTE', '_later()|regress_analyst|EXECUTE', 'journey|regress_analyst|SELECT',
	map { "later|regress_admin|$_" } qw(DELETE INSERT REFERENCES SELECT TRIGGER TRUNCATE UPDATE)), 'what is new is granted by levels');
command_ok([ 'pg_dump', '-d', $node->connstr('upgraded'), '-f', "$dump.granted" ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE granted');
$node->safe_psql('granted', qq{ALTER DATABASE granted SET search_path = public, cdp; CREATE EXTENSION marketing_cdp VERSION '$version.1'});
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('granted'), '-f', "$dump.granted" ], 'and its restore');
is($node->safe_psql('granted', $privileges), $after, 'has the same privileges');

# --- a library that is older than the script --------------------------------------
my ($ret, $out, $err) = $node->psql('postgres', q{CREATE EXTENSION marketing_cdp VERSION '99.0'});
like($err, qr/library marketing_cdp is of version \Q$version\E, but the script is of version 99\.0.*HINT:.*connect anew/s, 'a library that is too old says so');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'cdp'}), '0', 'and leaves nothing behind');

unlink map { "$dir/$_" } keys %file;
done_testing();
