//! Strings: set, get, count, cut and glue.

use crate::support::transcript::transcript;

#[test]
fn set_takes_its_options_in_any_order() {
    transcript(
        r#"
        > SET k v
        +OK
        > GET k
        "v"
        > SET k w GET
        "v"
        > SET new 1 GET
        nil
        > SET k x NX
        nil
        > SET other x NX
        +OK
        > SET nokey x XX
        nil
        > SET k y XX
        +OK
        > GET k
        "y"
        > SET k z XX GET
        "y"
        > SET k z NX GET
        "z"
        > SET nokey z XX GET
        nil
        > SET k v EX 100
        +OK
        > TTL k
        :100
        > SET k v KEEPTTL
        +OK
        > TTL k
        :100
        > SET k v
        +OK
        > TTL k
        :-1
        > SET k v px 100000 nx
        nil
        > set k v xx px 100000
        +OK
        > TTL k
        :100
        > SET k v EXAT 4102444800
        +OK
        > PEXPIRETIME k
        :4102444800000
        > SET k v PXAT 4102444800123
        +OK
        > PEXPIRETIME k
        :4102444800123
        > SET k v EXAT 1
        +OK
        > EXISTS k
        :0
        "#,
    );
}

#[test]
fn set_refuses_what_contradicts_itself() {
    transcript(
        r#"
        > SET k
        -ERR wrong number of arguments for 'set' command
        > SET k v NX XX
        -ERR syntax error
        > SET k v EX 10 PX 10
        -ERR syntax error
        > SET k v EX 10 KEEPTTL
        -ERR syntax error
        > SET k v KEEPTTL EXAT 10
        -ERR syntax error
        > SET k v EX
        -ERR syntax error
        > SET k v EX abc
        -ERR value is not an integer or out of range
        > SET k v EX 0
        -ERR invalid expire time in 'set' command
        > SET k v EX -1
        -ERR invalid expire time in 'set' command
        > SET k v PX 0
        -ERR invalid expire time in 'set' command
        > SET k v PX -5
        -ERR invalid expire time in 'set' command
        > SET k v EXAT 0
        -ERR invalid expire time in 'set' command
        > SET k v PXAT -1
        -ERR invalid expire time in 'set' command
        > SET k v EX 9223372036854775807
        -ERR invalid expire time in 'set' command
        > SET k v PX 9223372036854775807
        -ERR invalid expire time in 'set' command
        > SET k v EX 9223372036854775
        -ERR invalid expire time in 'set' command
        > SET k v NOSUCH
        -ERR syntax error
        > SET k v PERSIST
        -ERR syntax error
        > SET k v GET GET
        nil
        > LPUSH l 1
        :1
        > SET l v GET
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SET l v NX GET
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > TYPE l
        +list
        > EXISTS k
        :1
        > SET l v
        +OK
        > TYPE l
        +string
        "#,
    );
}

#[test]
fn the_older_ways_to_set() {
    transcript(
        r#"
        > SETNX k v
        :1
        > SETNX k w
        :0
        > GET k
        "v"
        > SETEX k 100 v
        +OK
        > TTL k
        :100
        > SETEX k 0 v
        -ERR invalid expire time in 'setex' command
        > SETEX k -1 v
        -ERR invalid expire time in 'setex' command
        > SETEX k abc v
        -ERR value is not an integer or out of range
        > SETEX k 9223372036854775807 v
        -ERR invalid expire time in 'setex' command
        > PSETEX k 100000 v
        +OK
        > TTL k
        :100
        > PSETEX k 0 v
        -ERR invalid expire time in 'psetex' command
        > PSETEX k abc v
        -ERR value is not an integer or out of range
        > GETSET k new
        "v"
        > GETSET nokey x
        nil
        > TTL k
        :-1
        > RPUSH l 1
        :1
        > GETSET l x
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SETNX l x
        :0
        > SETEX l 100 x
        +OK
        > TYPE l
        +string
        "#,
    );
}

#[test]
fn getex_and_getdel_change_what_they_read() {
    transcript(
        r#"
        > SET k v
        +OK
        > GETEX k
        "v"
        > TTL k
        :-1
        > GETEX k EX 100
        "v"
        > TTL k
        :100
        > GETEX k PERSIST
        "v"
        > TTL k
        :-1
        > GETEX k PXAT 4102444800000
        "v"
        > EXPIRETIME k
        :4102444800
        > GETEX k EX 0
        -ERR invalid expire time in 'getex' command
        > GETEX k EX abc
        -ERR value is not an integer or out of range
        > GETEX k PX -1
        -ERR invalid expire time in 'getex' command
        > GETEX k EX 10 PERSIST
        -ERR syntax error
        > GETEX k EX 10 PX 10
        -ERR syntax error
        > GETEX k KEEPTTL
        -ERR syntax error
        > GETEX k NX
        -ERR syntax error
        > GETEX k NOSUCH
        -ERR syntax error
        > GETEX nokey EX 10
        nil
        > GETEX k EXAT 1
        "v"
        > EXISTS k
        :0
        > SET k v
        +OK
        > GETDEL k
        "v"
        > GETDEL k
        nil
        > RPUSH l 1
        :1
        > GETDEL l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > GETEX l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > GET l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > GETDEL
        -ERR wrong number of arguments for 'getdel' command
        "#,
    );
}

#[test]
fn mset_and_mget_work_on_many_keys() {
    transcript(
        r#"
        > MSET a 1 b 2 a 3
        +OK
        > MGET a b nokey
        ["3" "2" nil]
        > RPUSH l 1
        :1
        > MGET a l
        ["3" nil]
        > MSET a
        -ERR wrong number of arguments for 'mset' command
        > MSET a 1 b
        -ERR wrong number of arguments for 'mset' command
        > MGET
        -ERR wrong number of arguments for 'mget' command
        > MSETNX c 1 d 2
        :1
        > MSETNX d 1 e 2
        :0
        > MGET c d e
        ["1" "2" nil]
        > MSETNX a 1 b
        -ERR wrong number of arguments for 'msetnx' command
        > MSETNX x 1 x 2
        :1
        > GET x
        "2"
        > MSET l 2
        +OK
        > TYPE l
        +string
        "#,
    );
}

#[test]
fn append_setrange_and_getrange_cut_and_glue() {
    transcript(
        r#"
        > APPEND k Hello
        :5
        > APPEND k " World"
        :11
        > GET k
        "Hello World"
        > STRLEN k
        :11
        > STRLEN nokey
        :0
        > GETRANGE k 0 4
        "Hello"
        > GETRANGE k -5 -1
        "World"
        > GETRANGE k 0 -1
        "Hello World"
        > GETRANGE k 5 3
        ""
        > GETRANGE k 100 200
        ""
        > GETRANGE k -100 2
        "Hel"
        > GETRANGE k -100 -200
        ""
        > GETRANGE nokey 0 1
        ""
        > SUBSTR k 0 4
        "Hello"
        > GETRANGE k a b
        -ERR value is not an integer or out of range
        > GETRANGE k 0 99999999999999999999
        -ERR value is not an integer or out of range
        > SETRANGE k 6 Redis
        :11
        > GET k
        "Hello Redis"
        > SETRANGE new 5 x
        :6
        > GET new
        "\x00\x00\x00\x00\x00x"
        > SETRANGE nokey 5 ""
        :0
        > EXISTS nokey
        :0
        > SETRANGE k 0 ""
        :11
        > SETRANGE k -1 x
        -ERR offset is out of range
        > SETRANGE k abc x
        -ERR value is not an integer or out of range
        > SETRANGE k 536870912 x
        -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        > SETRANGE k 9223372036854775807 x
        -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        > SET n 12345
        +OK
        > APPEND n 6
        :6
        > OBJECT ENCODING n
        "raw"
        > SETRANGE n 1 99
        :6
        > GET n
        "199456"
        > GETRANGE n 1 2
        "99"
        > SET i 7
        +OK
        > GETRANGE i 0 0
        "7"
        > RPUSH l 1
        :1
        > APPEND l x
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SETRANGE l 0 x
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > GETRANGE l 0 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > STRLEN l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn counters_count_in_64_bits() {
    transcript(
        r#"
        > INCR n
        :1
        > INCRBY n 41
        :42
        > DECR n
        :41
        > DECRBY n 40
        :1
        > SET n 9223372036854775806
        +OK
        > INCR n
        :9223372036854775807
        > INCR n
        -ERR increment or decrement would overflow
        > INCRBY n 1
        -ERR increment or decrement would overflow
        > DECRBY n -1
        -ERR increment or decrement would overflow
        > SET n -9223372036854775808
        +OK
        > DECR n
        -ERR increment or decrement would overflow
        > DECRBY n 9223372036854775807
        -ERR increment or decrement would overflow
        > DECRBY n -9223372036854775808
        -ERR decrement would overflow
        > INCRBY n abc
        -ERR value is not an integer or out of range
        > INCRBY n 1.5
        -ERR value is not an integer or out of range
        > INCRBY n ""
        -ERR value is not an integer or out of range
        > INCRBY n " 1"
        -ERR value is not an integer or out of range
        > INCRBY n 9223372036854775808
        -ERR value is not an integer or out of range
        > SET n abc
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n 1.0
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n " 1"
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n 01
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n -0
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n +1
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > SET n ""
        +OK
        > INCR n
        -ERR value is not an integer or out of range
        > RPUSH l 1
        :1
        > INCR l
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > INCR
        -ERR wrong number of arguments for 'incr' command
        > INCRBY n
        -ERR wrong number of arguments for 'incrby' command
        "#,
    );
}

#[test]
fn incrbyfloat_prints_no_more_digits_than_it_must() {
    transcript(
        r#"
        > INCRBYFLOAT f 10.50
        "10.5"
        > INCRBYFLOAT f 0.1
        "10.6"
        > INCRBYFLOAT f -5
        "5.6"
        > INCRBYFLOAT f 5.0e3
        "5005.60000000000000009"
        > SET f 3.0
        +OK
        > INCRBYFLOAT f 0
        "3"
        > SET f 1
        +OK
        > INCRBYFLOAT f 0.1
        "1.1"
        > INCRBYFLOAT f 1e17
        "100000000000000001.1015625"
        > INCRBYFLOAT f 1e300
        "1000000000000000000008997324079559193870523944273290747938260082321265646596180935755849152083750497190350372508614274835903592556184672983913096260520748646287327135641843653294084255107606016789726652932370030551382947620994540294772781889620606179267611627097410650567187386105690089424915104006144"
        > SET f 0.1
        +OK
        > INCRBYFLOAT f 0.2
        "0.3"
        > INCRBYFLOAT f 3.0e-17
        "0.30000000000000003"
        > INCRBYFLOAT f abc
        -ERR value is not a valid float
        > INCRBYFLOAT f ""
        -ERR value is not a valid float
        > INCRBYFLOAT f " 1"
        -ERR value is not a valid float
        > INCRBYFLOAT f "1 "
        -ERR value is not a valid float
        > INCRBYFLOAT f nan
        -ERR value is not a valid float
        > INCRBYFLOAT f inf
        -ERR increment would produce NaN or Infinity
        > INCRBYFLOAT f -inf
        -ERR increment would produce NaN or Infinity
        > INCRBYFLOAT f 0x10
        "16.30000000000000003"
        > SET f abc
        +OK
        > INCRBYFLOAT f 1
        -ERR value is not a valid float
        > SET f " 1"
        +OK
        > INCRBYFLOAT f 1
        -ERR value is not a valid float
        > SET f 5
        +OK
        > INCRBYFLOAT f 5
        "10"
        > OBJECT ENCODING f
        "embstr"
        > EXPIRE f 100
        :1
        > INCRBYFLOAT f 1
        "11"
        > TTL f
        :100
        > RPUSH l 1
        :1
        > INCRBYFLOAT l 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn lcs_finds_the_longest_common_subsequence() {
    transcript(
        r#"
        > MSET a ohmytext b mynewtext
        +OK
        > LCS a b
        "mytext"
        > LCS a b LEN
        :6
        > LCS a b IDX
        ["matches" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] "len" :6]
        > LCS a b IDX MINMATCHLEN 4
        ["matches" [[[:4 :7] [:5 :8]]] "len" :6]
        > LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
        ["matches" [[[:4 :7] [:5 :8] :4]] "len" :6]
        > LCS a b IDX WITHMATCHLEN
        ["matches" [[[:4 :7] [:5 :8] :4] [[:2 :3] [:0 :1] :2]] "len" :6]
        > LCS a b LEN IDX
        -ERR If you want both the length and indexes, please just use IDX.
        > LCS a b MINMATCHLEN abc
        -ERR value is not an integer or out of range
        > LCS a b IDX MINMATCHLEN -1
        ["matches" [[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] "len" :6]
        > LCS a b NOSUCH
        -ERR syntax error
        > LCS a b MINMATCHLEN
        -ERR syntax error
        > LCS a nokey
        ""
        > LCS nokey nokey LEN
        :0
        > LCS nokey nokey IDX
        ["matches" [] "len" :0]
        > LCS a a LEN
        :8
        > RPUSH l 1
        :1
        > LCS a l
        -ERR The specified keys must contain string values
        > HELLO 3
        {...}
        > LCS a b IDX WITHMATCHLEN
        {"matches": [[[:4 :7] [:5 :8] :4] [[:2 :3] [:0 :1] :2]], "len": :6}
        "#,
    );
}

#[test]
fn strings_know_their_encodings() {
    transcript(
        r#"
        > SET k 1
        +OK
        > OBJECT ENCODING k
        "int"
        > SET k 9223372036854775807
        +OK
        > OBJECT ENCODING k
        "int"
        > SET k 9223372036854775808
        +OK
        > OBJECT ENCODING k
        "embstr"
        > SET k 007
        +OK
        > OBJECT ENCODING k
        "embstr"
        > SET k 01234567890123456789012345678901234567890123
        +OK
        > OBJECT ENCODING k
        "embstr"
        > SET k 012345678901234567890123456789012345678901234
        +OK
        > OBJECT ENCODING k
        "raw"
        > SET k abc
        +OK
        > APPEND k d
        :4
        > OBJECT ENCODING k
        "raw"
        > SET k 10
        +OK
        > INCR k
        :11
        > OBJECT ENCODING k
        "int"
        > APPEND k ""
        :2
        > OBJECT ENCODING k
        "raw"
        > INCRBYFLOAT k 1
        "12"
        > OBJECT ENCODING k
        "embstr"
        > GETRANGE k 0 -1
        "12"
        > SETRANGE k 0 9
        :2
        > OBJECT ENCODING k
        "raw"
        > SET s ""
        +OK
        > OBJECT ENCODING s
        "embstr"
        "#,
    );
}

#[test]
fn strings_are_wrong_for_commands_of_other_types() {
    transcript(
        r#"
        > SET k v
        +OK
        > LPUSH k 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LPOP k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD k 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HSET k f v
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZADD k 1 a
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > HGET k f
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > SMEMBERS k
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGE k 0 -1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > LRANGE k 0 -1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > GET k
        "v"
        "#,
    );
}
