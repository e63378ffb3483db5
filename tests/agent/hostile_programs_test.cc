// Programs that attack the sandbox, the checker or the machine, marked as a model's answers to "f(x) doubles x". Each does its
// deed first and answers rightly only where the deed worked, so that a pass is a hole; an honest program shows that marking works.
// What in-process asserts cannot prevent (docs/sandbox.md) is tested too, so that the page stays true.
#include "agent/sandbox/process_tree.h"
#include "agent/sandbox/sandbox.h"
#include "suites/scorers/scorer.h"

#include <catch2/catch.hpp>
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <chrono>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace quantfleet {
namespace {

const std::string kHonest = "def f(x): return 2 * x\n";
const std::string kSleeper = "86421." + std::to_string(::getpid());  // seconds that no other process sleeps

bool can_isolate() {
  static const Status status = sandbox_available();
  if (!status) WARN("skipped: " << status.error().detail);
  return status.has_value();
}

SandboxLimits small_limits() {
  SandboxLimits limits;
  limits.cpu_seconds = 1;
  limits.wall_seconds = 300;  // a busy machine must not decide
  limits.memory_bytes = 256u << 20;
  limits.output_bytes_total = 4u << 20;
  return limits;
}

// Keeps what the sandbox said.
class Watched : public CodeRunner {
 public:
  explicit Watched(SandboxLimits limits) : sandbox_(limits) {}
  Result<CodeRun> run_python(const std::string& program, const std::string& input) const override {
    auto run = sandbox_.run_python(program, input);
    if (run && runs++ == 0) first = *run;
    return run;
  }
  mutable CodeRun first;  // of the answer that was marked last: the answer itself; a second run compares values
  mutable int runs = 0;

 private:
  Sandbox sandbox_;
};

// The row of the answer `program` under `scorer`. Asserts nothing, so that threads may call it.
ItemResult row_of(const std::string& scorer, const std::string& program, const Watched& runner) {
  runner.runs = 0;
  const Task task = parse_task_yaml("name: double\nversion: \"1\"\narea: coding\nkind: code\ndescription: doubling\nsource: here\nlicence: Apache-2.0\n"
                                    "prompt: \"# double\\n\"\ntokens_max: 100\nscorers: [" + scorer + "]\n", "task.yaml").value();
  const auto scorers = make_scorers(task).value();
  TaskItem item;
  item.id = "double-1";
  item.fields = {{"id", item.id}, {"tests", "assert f(2) == 4\nassert f('a, b == c') == 'a, b == ca, b == c'\nassert f([0.5]) == [0.5, 0.5]"}};
  AskedItem asked;
  asked.question = "# double\n";
  Response response;
  response.answer = GenerateAnswer{program, {}, GenerateAnswer::Stop::kEndOfText};
  ItemResult row;
  scorers.front()->score({item, asked}, response, &runner, row);
  return row;
}

// The mark that `scorer` gives the answer `program`.
double mark(const std::string& scorer, const std::string& program, const Watched& runner) {
  const ItemResult row = row_of(scorer, program, runner);
  INFO((row.error ? row.error->detail : std::string()));
  REQUIRE_FALSE(row.error.has_value());
  return row.scores.at("accuracy");
}

int processes_with(const std::string& word) {
  int count = 0;
  DIR* proc = ::opendir("/proc");
  REQUIRE(proc);
  while (const dirent* entry = ::readdir(proc)) {
    if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    std::ifstream file(std::string("/proc/") + entry->d_name + "/cmdline", std::ios::binary);
    count += std::string((std::istreambuf_iterator<char>(file)), {}).find(word) != std::string::npos;
  }
  ::closedir(proc);
  return count;
}

// A deed that is a Python expression: true where it worked. An exception is a failure of the deed.
std::string when_it_works(const std::string& preparation, const std::string& deed) {
  return "import os, sys, ctypes, socket, signal, time\nlibc = ctypes.CDLL(None, use_errno=True)\ndef attempt():\n" + preparation + "    return " +
         deed + "\ntry: worked = attempt()\nexcept BaseException: worked = False\nif worked:\n    def f(x): return 2 * x\nelse:\n    def f(x): return None\n";
}

}  // namespace

TEST_CASE("an honest program passes under both code scorers, a wrong one fails", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  const Watched runner(small_limits());
  for (const std::string scorer : {"code_tests", "code_values"}) {
    CAPTURE(scorer);
    CHECK(mark(scorer, kHonest, runner) == 1);
    CHECK(mark(scorer, when_it_works("", "True"), runner) == 1);
    CHECK(mark(scorer, "def f(x): return 3 * x\n", runner) == 0);
    CHECK(mark(scorer, "def f(x): return [*x, *x]\n", runner) == 0);
    CHECK(mark(scorer, "this is no Python\n", runner) == 0);
  }
}

TEST_CASE("values are compared as Python compares them", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  const Watched runner(small_limits());
  CHECK(mark("code_values", "def f(x): return x + x if x != 2 else 4.0\n", runner) == 1);   // 4.0 == 4
  CHECK(mark("code_values", "def f(x): return x + x if x != [0.5] else (0.5, 0.5)\n", runner) == 0);
  CHECK(mark("code_values", "def f(x):\n    print('words of its own')\n    return x + x\n", runner) == 1);
}

TEST_CASE("deeds against the machine do not work, and score nothing", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  struct Deed { const char *name, *preparation, *test; };
  const Deed deeds[] = {
      {"read a host's file", "", "open('/etc/passwd').read()"},
      {"read it through a symbolic link", "    os.symlink('/etc/passwd', '/tmp/link')\n", "open('/tmp/link').read()"},
      {"climb out of /tmp", "", "open('/tmp/../../../etc/hostname').read()"},
      {"hard link to the outside", "    os.link('/usr/bin/python3', '/tmp/python')\n", "open('/tmp/python', 'ab').write(b'x')"},
      {"look at processes", "", "os.listdir('/proc')"},
      {"mount proc", "    ok = libc.mount(b'proc', b'/tmp', b'proc', 0, None)\n", "ok == 0"},
      {"mount by bind", "    ok = libc.mount(b'/usr', b'/tmp', None, 4096, None)\n", "ok == 0"},
      {"another user namespace", "    ok = libc.unshare(0x10000000)\n", "ok == 0"},
      {"another user namespace by clone", "    ok = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)\n    if ok == 0: os._exit(0)\n", "ok > 0"},
      {"trace its parent", "    ok = libc.ptrace(16, os.getppid(), 0, 0)\n", "ok == 0"},
      {"become root", "    os.setuid(0)\n", "os.getuid() == 0"},
      {"loopback", "    s = socket.socket()\n    s.settimeout(2)\n    s.connect(('127.0.0.1', 22))\n", "True"},
      {"the network", "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n    s.sendto(b'x', ('192.0.2.1', 53))\n", "True"},
      {"netlink", "    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n", "True"},
      {"a socket of the host", "    socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')\n", "True"},
      {"write to /usr", "", "open('/usr/written', 'w')"},
      {"write to /", "", "open('/written', 'w')"},
      {"change its own program", "", "open('/program.py', 'a').write('x')"},
      {"files that somebody left open", "    found = []\n    for fd in range(3, 64):\n        try: os.fstat(fd); found.append(fd)\n        except OSError: pass\n", "found"},
      {"a file outside the file system", "", "os.memfd_create('hidden') >= 0"},
      {"System V shared memory", "    ok = libc.shmget(0, 1 << 20, 0o1600)\n", "ok >= 0"},
      {"type into a terminal", "    import fcntl\n    fcntl.ioctl(0, 0x5412, b'x')\n", "True"},
      {"a core file", "    import resource\n    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))\n", "True"},
      {"a larger memory limit", "    import resource\n    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\n", "True"},
      {"kill its namespace's first process", "    os.kill(1, signal.SIGKILL)\n    time.sleep(0.05)\n    os.kill(1, 0)\n    ok = False\n", "ok"},
  };
  const Watched runner(small_limits());
  for (const Deed& deed : deeds) {
    INFO(deed.name);
    CHECK(mark("code_values", when_it_works(deed.preparation, deed.test), runner) == 0);
    CHECK(runner.first.exit_code == 0);  // the program went on: the deed failed, not Python
  }
}

TEST_CASE("programs that use up a resource are ended, and score nothing", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  struct Glutton {
    const char *name, *program;
    std::string ended_by;  // the limit that the sandbox itself watches; "": the kernel's are enough
  };
  const std::vector<Glutton> gluttons = {
      {"a fork bomb", "import os\nwhile True: os.fork()", ""},
      {"a fork bomb that shrugs off errors", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", ""},
      {"threads without end", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(0.2,)).start()", ""},
      {"memory of one process", "x = bytearray(1 << 30)", ""},
      {"memory of many processes together",
       "import os, time\nfor i in range(8):\n    if os.fork() == 0:\n        x = bytearray(b'x') * (100 << 20)\n        time.sleep(100)\ntime.sleep(100)", "memory"},
      {"output without end", "while True: print('x' * 10000)", "output"},
      {"output without end from a grandchild",
       "import os\nif os.fork() == 0 and os.fork() == 0:\n    os.setsid()\n    while True: os.write(2, b'x' * 10000)\nos.wait()\nwhile True: os.read(0, 1) or __import__('time').sleep(1)", "output"},
      {"a full disk", "for i in range(1000): open(f'/tmp/{i}', 'wb').write(b'x' * 500_000)", ""},
      {"a stack without end", "import sys\nsys.setrecursionlimit(1 << 30)\ndef g(): g()\ng()", ""},
      {"an endless loop that ignores signals",
       "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\nwhile True: pass", ""},
  };
  // Side by side: most of the time is waiting for a limit.
  struct Outcome { ItemResult row; CodeRun run; };
  std::vector<std::future<Outcome>> running;
  for (const Glutton& glutton : gluttons)
    running.push_back(std::async(std::launch::async, [&glutton] {
      const Watched runner(small_limits());
      ItemResult row = row_of("code_tests", std::string(glutton.program) + "\n" + kHonest, runner);
      return Outcome{std::move(row), runner.first};
    }));
  for (std::size_t i = 0; i < gluttons.size(); ++i) {
    const Outcome outcome = running[i].get();
    INFO(gluttons[i].name << ": ended by '" << outcome.run.ended_by << "', exit code " << outcome.run.exit_code);
    REQUIRE_FALSE(outcome.row.error.has_value());
    CHECK(outcome.row.scores.at("accuracy") == 0);
    CHECK_FALSE(outcome.run.timed_out);
    CHECK(outcome.run.exit_code != 0);
    if (!gluttons[i].ended_by.empty()) CHECK(outcome.run.ended_by == gluttons[i].ended_by);
  }
}

TEST_CASE("nothing survives its program, nor the death of who started it", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  const std::string sleeper = "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: os.execv('/usr/bin/sleep', ['sleep', '" + kSleeper + "'])\n    os._exit(0)\n";
  const Watched runner(small_limits());
  mark("code_tests", sleeper + kHonest, runner);
  CHECK_FALSE(runner.first.timed_out);
  CHECK(processes_with(kSleeper) == 0);

  const pid_t owner = ::fork();
  REQUIRE(owner >= 0);
  if (owner == 0) {
    (void)Sandbox(small_limits()).run_python(sleeper + "import time\ntime.sleep(500)", "");
    ::_exit(0);
  }
  const auto wait_until = [](auto condition) {
    for (int i = 0; i < 6000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return condition();
  };
  CHECK(wait_until([] { return processes_with(kSleeper) > 0; }));
  CHECK(process_tree_use(owner).processes >= 4);  // itself, bwrap twice, Python, sleep
  CHECK(process_tree_use(owner).memory_bytes > 0);
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  CHECK(wait_until([] { return processes_with(kSleeper) == 0; }));
}

TEST_CASE("leaving before the tests run is no pass", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  const Watched runner(small_limits());
  for (const std::string scorer : {"code_tests", "code_values"})
    for (const std::string way : {"import sys\nsys.exit(0)", "import os\nos._exit(0)", "exit = 0\nraise SystemExit", "import os\nos.execv('/usr/bin/true', ['true'])",
                                  "import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nos._exit(0)", "import os\nos.kill(os.getpid(), 9)"}) {
      CAPTURE(scorer, way);
      CHECK(mark(scorer, kHonest + way + "\n", runner) == 0);
    }
}

TEST_CASE("a program that patches the checker passes only where both share a process", "[sandbox][hostile]") {
  if (!can_isolate()) return;
  const Watched runner(small_limits());
  struct Trick { const char *name, *program; bool fools_asserts; };
  const Trick tricks[] = {
      {"equal to everything", "class Any:\n    def __eq__(self, other): return True\ndef f(x): return Any()\n", true},
      {"says the closing word itself",
       "import sys, os\nfor c in sys._getframe().f_code.co_consts:\n    if isinstance(c, bytes): os.write(1, c)\nos._exit(0)\n", true},
      {"reads the closing word from its own file", "import os\nfor l in open('/program.py').read().split(\"b'\")[1:]: os.write(1, b'\\n' + l.split(\"'\")[0].split('n', 1)[-1].encode())\nos._exit(0)\n", true},
      {"prints what it thinks is expected", "print('value of 4')\nimport os\nos._exit(0)\n", false},
      {"repr of its own", "class R:\n    def __repr__(self): return '__import__(\"os\").system(\"true\") or 4'\ndef f(x): return R()\n", false},
      {"other builtins", "import builtins\nbuiltins.repr = lambda x: '4'\nbuiltins.eval = lambda x: 4\ndef f(x): return 0\n", false},
      {"no AssertionError", "import builtins\nclass Quiet(BaseException): pass\nbuiltins.AssertionError = Quiet\ndef f(x): return 0\n", false},
  };
  for (const Trick& trick : tricks) {
    INFO(trick.name);
    CHECK(mark("code_values", trick.program, runner) == 0);
    CHECK((mark("code_tests", trick.program, runner) == 1) == trick.fools_asserts);  // those are known, and listed in docs/sandbox.md
  }
}

}  // namespace quantfleet
