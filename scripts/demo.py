"""What Sluice is for, on real data, in under two minutes.

A master takes a million keys of words, characters and countries; streams them, without a file and without a fork, into two
fresh replicas, one of them a real redis-server; they follow live writes, lose the link and continue, restart and continue,
and at the end all three prove with digests that they hold the same data at the same offset.

Started by scripts/demo. SLUICE_SERVER and REDIS_SERVER name the servers; the tool `sluice` is taken from beside the first,
unless SLUICE_TOOL names it. The exit code is 0 only if everything was as it should be.
"""

import gettext
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata

WORDS = pathlib.Path("/usr/share/dict/american-english-large")
UNICODE = pathlib.Path("/usr/share/unicode/UnicodeData.txt")
ISO = pathlib.Path("/usr/share/iso-codes/json")
LOCALES = pathlib.Path("/usr/share/locale")
STARTED = time.monotonic()

# All that were started, to be ended however this ends.
NODES = []


# The dataset ----------------------------------------------------------------------------------------------------------


def commands():
    """The whole dataset as commands: more than a million keys in all five types, the same in every run."""
    yield from word_commands()
    yield from character_commands()
    yield from country_commands()


def word_commands():
    words = WORDS.read_text(encoding="utf-8", errors="replace").split()
    anagrams, endings, initials = {}, {}, {}
    for rank, word in enumerate(words):
        letters = sorted(word.lower())
        yield "SET", f"word:{word}", str(rank)
        yield "HSET", f"entry:{word}", "length", str(len(word)), "rank", str(rank), "reversed", word[::-1]
        yield "RPUSH", f"letters:{word}", *word
        yield "SADD", f"alphabet:{word}", *letters
        counts = {letter: letters.count(letter) for letter in letters}
        yield "ZADD", f"frequency:{word}", *(item for letter, count in counts.items() for item in (str(count), letter))
        yield "SET", f"backwards:{word[::-1]}", word
        anagrams.setdefault("".join(letters), []).append(word)
        endings.setdefault(word[-3:], []).append(word)
        initials.setdefault(word[0], []).extend((str(len(word)), word))
    for key, group in anagrams.items():
        yield "SADD", f"anagrams:{key}", *group
    for key, group in endings.items():
        for start in range(0, len(group), 100):
            yield "RPUSH", f"rhymes:{key}", *group[start:start + 100]
    for key, pairs in initials.items():
        for start in range(0, len(pairs), 200):
            yield "ZADD", f"longest:{key}", *pairs[start:start + 200]


def character_commands():
    fields = ("name", "category", "combining", "bidi", "decomposition", "decimal", "digit", "numeric", "mirrored")
    for line in UNICODE.read_text(encoding="ascii").splitlines():
        code, *values = line.split(";")
        point = int(code, 16)
        present = [(field, value) for field, value in zip(fields, values) if value]
        yield "HSET", f"char:{code}", *(item for pair in present for item in pair)
        if 0xD800 <= point < 0xE000:
            continue
        character = chr(point)
        yield "SET", f"utf8:{code}", character
        yield "SADD", f"category:{unicodedata.category(character)}", code
        yield "ZADD", "numeric-values", str(unicodedata.numeric(character, 0)), code
        for name in values[0].split()[:3]:
            yield "RPUSH", f"named:{name}", code


def country_commands():
    texts = []
    for file in sorted(ISO.glob("iso_*.json")):
        (kind, entries), = json.loads(file.read_text(encoding="utf-8")).items()
        for entry in entries:
            code = entry.get("alpha_3") or entry.get("code") or entry.get("alpha_4") or entry["alpha_2"]
            flat = [(field, value) for field, value in entry.items() if isinstance(value, str)]
            yield "HSET", f"iso:{kind}:{code}", *(item for pair in flat for item in pair)
            texts.append((file.stem, kind, code, entry.get("name", code)))
    for folder in sorted(LOCALES.glob("*/LC_MESSAGES")):
        language = folder.parent.name
        catalogs = {}
        for domain, kind, code, name in texts:
            if domain not in catalogs:
                path = folder / f"{domain}.mo"
                catalogs[domain] = gettext.GNUTranslations(path.open("rb")) if path.exists() else None
            if catalogs[domain] and (translated := catalogs[domain].gettext(name)) != name:
                yield "SET", f"name:{language}:{kind}:{code}", translated


def encoded(words):
    parts = [word.encode("utf-8", "surrogatepass") for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def live_write(dice, number):
    """One small write; together all five types, some with a lifetime."""
    name = f"live:{dice.randrange(5000)}"
    return dice.choice((
        ("SET", name, str(number)),
        ("SET", name + ":short", str(number), "PX", str(dice.randrange(100, 1000))),
        ("INCRBY", "live:counter", str(dice.randrange(100))),
        ("RPUSH", name + ":list", str(number), "x" * dice.randrange(100)),
        ("LPOP", name + ":list"),
        ("SADD", name + ":set", str(dice.randrange(1000)), str(number)),
        ("SPOP", name + ":set"),
        ("HSET", name + ":hash", f"f{dice.randrange(50)}", str(number)),
        ("HINCRBYFLOAT", name + ":hash", "sum", "0.25"),
        ("ZADD", "live:ranking", str(dice.random()), name),
        ("ZREMRANGEBYRANK", "live:ranking", "0", "0"),
        ("DEL", name),
    ))


# Nodes ----------------------------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=300)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        self.socket.sendall(encoded(words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def close(self):
        self.file.close()
        self.socket.close()


class Node:
    def __init__(self, name, binary, *settings):
        self.name = name
        self.binary = binary
        self.port = free_port()
        self.home = tempfile.mkdtemp(prefix="sluice-demo-")
        self.settings = ["--save", "3600", "1", "--enable-debug-command", "yes", "--repl-diskless-sync", "yes",
                         "--repl-backlog-size", "256mb", "--client-output-buffer-limit", "replica", "0", "0", "0", *settings]
        self.process = None
        NODES.append(self)
        self.start()

    def start(self, *more):
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.home, *self.settings, *more]
        with open(os.path.join(self.home, "log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        bar = Bar(f"{self.name} loads its file", 100)

        def answers():
            info = self.info()
            if info["loading"] == "1":
                bar.at(float(info.get("loading_loaded_perc", 0)))
                return False
            return True

        self.await_that("it answers", answers)
        if bar.shown >= 0:
            bar.at(100)

    def stop(self):
        """SIGTERM: it saves, with its place in the history, and ends."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            fail(f"{self.name} ended with code {self.process.returncode}", self)

    def call(self, *words):
        connection = Connection(self.port)
        try:
            return connection.call(*words)
        finally:
            connection.close()

    def info(self):
        lines = self.call("INFO", "everything").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def await_that(self, what, condition, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if condition():
                    return
            except (OSError, RuntimeError):
                if self.process.poll() is not None:
                    fail(f"{self.name} has ended", self)
            time.sleep(0.01)
        fail(f"{self.name}: waited {seconds} s in vain until {what}", self)

    def children(self):
        """Processes that the node has forked and that live."""
        found = []
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name, in parentheses, may hold anything; the state and the parent follow it.
                parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == str(self.process.pid):
                found.append(stat.parent.name)
        return found

    def await_link(self):
        self.await_that("its link is up", lambda: self.info()["master_link_status"] == "up")


class Wire:
    """The network between the master and its replicas, which can be cut."""

    def __init__(self, port):
        self.target, self.sockets, self.whole = port, [], True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            replica, _ = self.listener.accept()
            try:
                if not self.whole:
                    raise OSError("the wire is cut")
                master = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                replica.close()
                continue
            pair = [replica, master]
            self.sockets += pair
            for ends in (pair, pair[::-1]):
                threading.Thread(target=self.carry, args=ends, daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(1 << 20):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            # The other direction ends with this one.
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.whole = False
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets.clear()

    def mend(self):
        self.whole = True


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# The screen -----------------------------------------------------------------------------------------------------------


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


def fail(text, *nodes):
    say(f"FAILED: {text}")
    for node in nodes:
        with open(os.path.join(node.home, "log"), errors="replace") as log:
            print(f"--- log of {node.name} ---\n{''.join(log.readlines()[-20:])}")
    sys.exit(1)


class Bar:
    """A progress bar on a terminal; elsewhere a line for each quarter. `shown` is -1 until something was shown."""

    def __init__(self, what, total):
        self.what, self.total, self.shown = what, max(total, 1), -1

    def at(self, done, note=""):
        share = min(done / self.total, 1)
        if sys.stdout.isatty():
            if share < 1:
                self.shown = max(self.shown, 0)
            filled = int(share * 40)
            print(f"\r           {self.what:<28} [{'#' * filled}{'.' * (40 - filled)}] {share:4.0%} {note:<36}", end="", flush=True)
            if share == 1 and self.shown != 1:
                print()
                self.shown = 1
        elif int(share * 4) > self.shown:
            self.shown = int(share * 4)
            print(f"           {self.what:<28} {share:4.0%} {note}", flush=True)


# The story ------------------------------------------------------------------------------------------------------------


def insert(master):
    """All commands through redis-cli --pipe, as one would insert a dump."""
    pipe = subprocess.Popen([REDIS_CLI, "-p", str(master.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    bar = Bar("inserting", 1_750_000)
    count, buffered = 0, []
    for count, words in enumerate(commands(), 1):
        buffered.append(encoded(words))
        if count % 5000 == 0:
            pipe.stdin.write(b"".join(buffered))
            buffered.clear()
            bar.at(count, f"{count:,} commands")
    pipe.stdin.write(b"".join(buffered))
    said = pipe.communicate()[0].decode()
    bar.at(bar.total, f"{count:,} commands")
    if pipe.returncode or f"errors: 0, replies: {count}" not in said:
        fail(f"mass insertion: {said}", master)


def full_sync(master, wire, replicas):
    for replica in replicas:
        replica.call("REPLICAOF", "127.0.0.1", str(wire.port))
    keys = int(master.call("DBSIZE"))
    loaded = dict.fromkeys(replicas, 0)
    bar = Bar("full sync of both", keys * len(replicas))
    end = time.monotonic() + 100
    while True:
        waiting, notes = [], []
        for replica in replicas:
            info = replica.info()
            if info["master_link_status"] == "up":
                loaded[replica] = keys
            else:
                waiting.append(replica)
                if info.get("loading") == "1":
                    loaded[replica] = min(int(info.get("rdb_last_load_keys_loaded", 0)), keys - 1)
            notes.append(f"{replica.name} {loaded[replica] / keys:.0%}")
        bar.at(sum(loaded.values()), ", ".join(notes))
        if not waiting:
            return
        if time.monotonic() > end:
            fail(f"not in sync after 100 s: {', '.join(replica.name for replica in waiting)}", master, *waiting)
        if children := master.children():
            fail(f"the master has forked: {children}", master)
        time.sleep(0.02)


class Writer(threading.Thread):
    """Writes all the time, pipelined, and pauses while the master is away."""

    def __init__(self, master):
        super().__init__(daemon=True)
        self.master, self.written, self.running, self.refused = master, 0, True, None

    def run(self):
        dice, connection = random.Random(7), None
        while self.running:
            try:
                connection = connection or Connection(self.master.port)
                batch = [live_write(dice, self.written + place) for place in range(50)]
                connection.socket.sendall(b"".join(encoded(words) for words in batch))
                for _ in batch:
                    connection.reply()
                self.written += len(batch)
                time.sleep(0.005)
            except RuntimeError as error:
                if not str(error).startswith("LOADING"):
                    self.refused = str(error)
                    return
                connection.close()
                connection = None
                time.sleep(0.05)
            except OSError:
                connection = None
                time.sleep(0.05)

    def finish(self):
        self.running = False
        self.join()
        if self.refused:
            fail(f"the master refused a write: {self.refused}", self.master)


def position(node):
    info = node.info()
    return info["master_replid"], int(info["master_repl_offset"])


def settle(master, replicas):
    for replica in replicas:
        replica.await_that("it has its master's offset", lambda: position(replica) == position(master))


def syncs(master):
    info = master.info()
    return int(info["sync_full"]), int(info["sync_partial_ok"])


def main():
    real = subprocess.run([REDIS, "--version"], capture_output=True, text=True).stdout.split()[2].removeprefix("v=")
    say(f"Starting three empty nodes: two of Sluice and one redis-server {real}.")
    try:
        master = Node("master", SLUICE, "--repl-diskless-sync-delay", "1")
        ours = Node("replica", SLUICE, "--repl-diskless-load", "on-empty-db")
        theirs = Node("redis-server", REDIS, "--repl-diskless-load", "on-empty-db")
        tell(master, [ours, theirs])
    finally:
        for node in NODES:
            if node.process:
                node.process.kill()
                node.process.wait()
            shutil.rmtree(node.home, ignore_errors=True)


def tell(master, replicas):
    nodes, times = [master, *replicas], {}

    def timed(what, work):
        start = time.monotonic()
        work()
        times[what] = time.monotonic() - start
        return times[what]

    say("Inserting words, characters and countries into the master (redis-cli --pipe).")
    seconds = timed("mass insertion", lambda: insert(master))
    keys, memory = int(master.call("DBSIZE")), int(master.info()["used_memory"])
    say(f"{keys:,} keys in all five types, {memory / 1e6:.0f} MB, in {seconds:.1f} s.")
    if keys < 1_000_000:
        fail("fewer than a million keys: are unicode-data, wamerican-large and iso-codes complete?", master)

    say("Live writes begin, and both replicas attach: one walk feeds both sockets, no file, no fork.")
    writer = Writer(master)
    writer.start()
    wire = Wire(master.port)
    seconds = timed("full sync of both, under writes", lambda: full_sync(master, wire, replicas))
    files = os.listdir(master.home)
    say(f"Both are linked after {seconds:.1f} s; {writer.written:,} writes so far.")
    if files != ["log"]:
        fail(f"the snapshot should need no file, but there are {files}", master)
    say("The master never had a child process, and its directory holds its log and nothing else.")

    say("Cutting both links for half a second, three times, while the writes go on.")
    missed = []

    def cut():
        for _ in range(3):
            before = syncs(master)[1]
            wire.cut()
            start = position(master)[1]
            time.sleep(0.5)
            missed.append(position(master)[1] - start)
            wire.mend()
            master.await_that("both have continued", lambda: syncs(master)[1] >= before + 2)

    seconds = timed("3 cuts of both links", cut)
    full, partial = syncs(master)
    say(f"{partial} times continued with PSYNC from where they were, {sum(missed) / len(missed) / 1e3:,.0f} kB behind on "
        f"average; {full} full syncs in all; {seconds:.1f} s.")
    if full != 2:
        fail(f"expected 2 full syncs, found {full}", *nodes)

    for replica in replicas:
        say(f"Restarting {replica.name} while the writes go on.")

        def restart():
            replica.stop()
            replica.start("--replicaof", "127.0.0.1", str(wire.port))
            replica.await_link()

        before = syncs(master)
        seconds = timed(f"restart of {replica.name}", restart)
        after = syncs(master)
        say(f"It is back after {seconds:.1f} s: {after[1] - before[1]} partial, {after[0] - before[0]} full syncs.")
        if after[0] != before[0]:
            fail("a restart should not need a full sync", *nodes)

    say("Restarting the master.")

    def restart_master():
        master.stop()
        master.start()
        for replica in replicas:
            replica.await_link()
        master.await_that("both have continued", lambda: sum(syncs(master)) >= 2)

    seconds = timed("restart of the master", restart_master)
    full, partial = syncs(master)
    say(f"Both replicas are linked again after {seconds:.1f} s: {partial} partial, {full} full syncs.")
    if full != 0:
        fail("the master's restart should not need a full sync", *nodes)
    time.sleep(1)
    writer.finish()
    say(f"The writes end: {writer.written:,} of them. Comparing.")

    def settle_all():
        time.sleep(1)
        # Every lifetime is over; reading the keys makes the master delete what it had not come to yet.
        master.call("KEYS", "live:*")
        settle(master, replicas)

    timed("the last lifetimes end", settle_all)

    def prove():
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        proof = subprocess.run([TOOL, "digest", "--wait", "30s", *addresses], stdout=subprocess.PIPE, text=True)
        table = proof.stdout
        for node, address in zip(nodes, addresses):
            table = table.replace(address, f"{node.name:<{len(address)}}")
        print("\n  $ sluice digest " + " ".join(addresses))
        print("".join(f"  {line}\n" for line in table.splitlines()), end="")
        if proof.returncode != 0:
            fail(f"`sluice digest` ended with {proof.returncode}", *nodes)

    timed("the digests of all three", prove)
    print(f"\n  {'step':<34} {'seconds':>8}")
    for what, seconds in times.items():
        print(f"  {what:<34} {seconds:>8.2f}")
    print()
    say("All three hold the same data, at the same offset of the same history.")


if __name__ == "__main__":
    SLUICE = os.environ.get("SLUICE_SERVER") or sys.exit("SLUICE_SERVER should name the server; run scripts/demo")
    TOOL = os.environ.get("SLUICE_TOOL") or os.path.join(os.path.dirname(SLUICE), "sluice")
    REDIS = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or sys.exit("redis-server is needed")
    REDIS_CLI = shutil.which("redis-cli") or sys.exit("redis-cli is needed")
    for program in (SLUICE, TOOL, REDIS):
        if not shutil.which(program):
            sys.exit(f"{program} is not there; run scripts/demo without SLUICE_SERVER to build it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
