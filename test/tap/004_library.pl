# A library that exports its own CRoaring, loaded before ours or after it, must
# not get our calls.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Cwd;

my $dir = Cwd::abs_path(PostgreSQL::Test::Utils::tempdir);
open my $c, '>', "$dir/carrier.c" or die;
print $c <<'EOF';
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
__attribute__((visibility("default"))) void *roaring_bitmap_create(void);
void *roaring_bitmap_create(void) { return NULL; }
__attribute__((visibility("default"))) void *roaring_bitmap_create_with_capacity(uint32 cap);
void *roaring_bitmap_create_with_capacity(uint32 cap) { return NULL; }
EOF
close $c;
chomp(my $include = `pg_config --includedir-server`);
plan skip_all => 'no C compiler'
  if system("cc -w -fPIC -shared -I$include -o $dir/carrier.so $dir/carrier.c") != 0;

my $node = PostgreSQL::Test::Cluster->new('library');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION marketing_cdp');
is($node->safe_psql('postgres', "SELECT cdp.rb_build('{2,1}')"), '{1,2}', 'alone it works');
is($node->safe_psql('postgres', "LOAD '$dir/carrier.so'; SELECT cdp.rb_build('{2,1}')"), '{1,2}', 'loaded after the other one');
is($node->safe_psql('postgres', "SELECT cdp.rb_build('{2,1}'); LOAD '$dir/carrier.so'; SELECT cdp.rb_fill('{}', 1, 4)"),
	"{1,2}\n{1,2,3}", 'loaded before the other one');
$node->stop;
done_testing();
