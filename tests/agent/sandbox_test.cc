// What generated code cannot do. Skipped aloud where this machine cannot isolate at all (and there the error explains).
#include "agent/sandbox/sandbox.h"
#include "agent/sandbox/seccomp_filter.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

using namespace quantfleet;

namespace {

bool can_isolate() {
  static const Status status = sandbox_available();
  if (!status) WARN("skipped: " << status.error().detail);
  return status.has_value();
}

CodeRun run(const std::string& program, SandboxLimits limits = {}, const std::string& input = "") {
  const auto result = Sandbox(limits).run_python(program, input);
  INFO((result.has_error() ? result.error().detail : std::string()));
  REQUIRE(result.has_value());
  CAPTURE(result->stderr_text);
  return *result;
}

// How many processes on this machine carry `mark` in their command line.
int processes_with(const std::string& mark) {
  int count = 0;
  DIR* proc = ::opendir("/proc");
  REQUIRE(proc);
  while (const dirent* entry = ::readdir(proc)) {
    if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    std::ifstream file(std::string("/proc/") + entry->d_name + "/cmdline", std::ios::binary);
    const std::string words((std::istreambuf_iterator<char>(file)), {});
    if (words.find(mark) != std::string::npos) ++count;
  }
  ::closedir(proc);
  return count;
}

}  // namespace

TEST_CASE("a program runs, reads its input and its exit code comes back", "[sandbox]") {
  if (!can_isolate()) return;
  const CodeRun result = run("import sys\nprint(input()[::-1])\nprint('no', file=sys.stderr)\nsys.exit(3)", {}, "abc\n");
  CHECK(result.stdout_text == "cba\n");
  CHECK(result.stderr_text == "no\n");
  CHECK(result.exit_code == 3);
  CHECK_FALSE(result.timed_out);
  CHECK(run("this is not python").exit_code == 1);
}

TEST_CASE("a program sees no network, no files, no environment and no processes of ours", "[sandbox]") {
  if (!can_isolate()) return;
  const CodeRun result = run(R"(
import os, socket
def attempt(what, action):
    try:
        action()
        print(what, 'POSSIBLE')
    except Exception as error:
        print(what, type(error).__name__)
def connect(address):
    with socket.socket() as s:
        s.settimeout(1)
        s.connect(address)
attempt('loopback', lambda: connect(('127.0.0.1', 22)))
attempt('outside', lambda: connect(('192.0.2.1', 80)))
attempt('passwd', lambda: open('/etc/passwd'))
attempt('home', lambda: os.listdir('/home'))
attempt('root', lambda: os.listdir('/root'))
attempt('proc', lambda: os.listdir('/proc'))
attempt('write /usr', lambda: open('/usr/x', 'w'))
attempt('write /', lambda: open('/x', 'w'))
attempt('kill 1', lambda: os.kill(1, 9) or os.kill(1, 0))
attempt('become root', lambda: os.setuid(0))
print(sorted(k for k in os.environ if k not in ('PWD', 'LC_CTYPE')), os.getuid(), sorted(os.listdir('/')))
open('/tmp/mine', 'w').write('x')
)");
  CHECK(result.exit_code == 0);
  const std::string& text = result.stdout_text;
  CAPTURE(text);
  CHECK(text.find("passwd FileNotFoundError") != std::string::npos);
  CHECK(text.find("home FileNotFoundError") != std::string::npos);
  CHECK(text.find("outside PermissionError") != std::string::npos);
  CHECK(text.find("become root OSError") != std::string::npos);
  CHECK(text.find("[] 65534 ['bin', 'dev', 'lib', 'lib64', 'program.py', 'tmp', 'usr']") != std::string::npos);
  std::string rest = text;
  if (const std::size_t own = rest.find("kill 1 POSSIBLE"); own != std::string::npos) rest.erase(own, 15);  // its own namespace's 1
  CHECK(rest.find("POSSIBLE") == std::string::npos);
}

TEST_CASE("the command line asks for every border", "[sandbox]") {
  const std::vector<std::string> words = sandbox_command_line({});
  const auto end = std::find(words.begin(), words.end(), "--");
  REQUIRE(end != words.end());
  const auto has = [&](std::vector<std::string> wanted) { return std::search(words.begin(), end, wanted.begin(), wanted.end()) != end; };
  for (const char* word : {"--unshare-all", "--die-with-parent", "--new-session", "--clearenv"}) CHECK(has({word}));
  CHECK(has({"--cap-drop", "ALL"}));
  CHECK(has({"--uid", "65534", "--gid", "65534"}));
  CHECK(has({"--seccomp", std::to_string(kFilterFd)}));
  CHECK(has({"--remount-ro", "/"}));
  for (const char* word : {"--share-net", "--bind", "--proc", "--dev", "--cap-add"}) CHECK_FALSE(has({word}));
  for (const char* limit : {"--as=", "--cpu=", "--fsize=", "--nproc=", "--nofile=64", "--core=0"})
    CHECK(std::any_of(end, words.end(), [&](const std::string& word) { return word.rfind(limit, 0) == 0; }));
}

namespace {

// A socket of this machine that takes connections, and the program that tries to reach it.
struct Listener {
  Listener() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd, 4) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    program = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', " + std::to_string(ntohs(address.sin_port)) +
              "), 5)\n    print('connected')\nexcept OSError as error: print(type(error).__name__)\n";
  }
  ~Listener() { ::close(fd); }
  int fd;
  std::string program;
};

// What `program` prints when bubblewrap is called as the sandbox calls it, but with only some of the layers.
std::string printed(const std::string& program, bool own_network, bool filtered) {
  std::vector<std::string> words;
  for (const std::string& word : sandbox_command_line({})) {
    if (word == "--") break;
    words.push_back(word);
  }
  const auto drop = [&](const std::string& word) { words.erase(std::find(words.begin(), words.end(), word), std::find(words.begin(), words.end(), word) + 2); };
  drop("--json-status-fd");
  if (!filtered) drop("--seccomp");
  if (!own_network) words.push_back("--share-net");
  for (const char* word : {"--", "/usr/bin/python3", "-I", "-S", "/program.py"}) words.push_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const std::vector<sock_filter> calls = seccomp_filter();
  const auto file = [](std::string_view bytes) {
    const int fd = ::memfd_create("test", 0);
    REQUIRE(::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    ::lseek(fd, 0, SEEK_SET);
    const int high = ::fcntl(fd, F_DUPFD, 20);  // dup2 in the child must not meet it
    ::close(fd);
    return high;
  };
  const int program_fd = file(program);
  const int filter_fd = file({reinterpret_cast<const char*>(calls.data()), calls.size() * sizeof(sock_filter)});
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const int write_end = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 20);
  ::close(ends[1]);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(write_end, 1), ::dup2(program_fd, kProgramFd), ::dup2(filter_fd, kFilterFd);
    if (::geteuid() == 0 && (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0)) ::_exit(126);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(write_end), ::close(program_fd), ::close(filter_fd);
  std::string text;
  char piece[256];
  for (ssize_t count; (count = ::read(ends[0], piece, sizeof piece)) > 0;) text.append(piece, static_cast<std::size_t>(count));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  return text;
}

}  // namespace

TEST_CASE("two layers stand before the network, and each of them alone is enough", "[sandbox]") {
  if (!can_isolate()) return;
  const Listener listener;
  CHECK(printed(listener.program, false, false) == "connected\n");  // with neither, so that the others mean something
  CHECK(printed(listener.program, true, false) == "ConnectionRefusedError\n");  // a loopback of its own, where nobody listens
  CHECK(printed(listener.program, false, true) == "PermissionError\n");
}

TEST_CASE("memory, CPU time, files and processes are limited", "[sandbox]") {
  if (!can_isolate()) return;
  SandboxLimits limits;
  limits.cpu_seconds = 1;
  limits.wall_seconds = 120;  // a busy machine must not decide
  SECTION("memory") {
    const CodeRun result = run("x = bytearray(2_000_000_000)", limits);
    CHECK(result.exit_code == 1);
    CHECK(result.stderr_text.find("MemoryError") != std::string::npos);
  }
  SECTION("an endless loop is killed by its CPU time") {
    const CodeRun result = run("while True: pass", limits);
    CHECK(result.exit_code > 128);
    CHECK_FALSE(result.timed_out);
  }
  SECTION("a file cannot grow beyond the limit, nor many files together") {
    CHECK(run("f = open('/tmp/f', 'wb')\nfor i in range(100): f.write(b'x' * 100_000)", limits).exit_code != 0);
    CHECK(run("for i in range(100):\n  open(f'/tmp/{i}', 'wb').write(b'x' * 1_000_000)", limits).exit_code != 0);
  }
  SECTION("a fork bomb stops at the processes limit") {
    const CodeRun result = run("import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(30)\n    n += 1\nexcept BlockingIOError: print('stopped', n < 32)", limits);
    CHECK(result.stdout_text == "stopped True\n");
    CHECK_FALSE(result.timed_out);
  }
}

TEST_CASE("floods of output are drained, cut and ended", "[sandbox]") {
  if (!can_isolate()) return;
  SandboxLimits limits;
  limits.output_bytes = 1000;
  const CodeRun some = run("import sys\nfor i in range(20000): print('x' * 50); print('y' * 50, file=sys.stderr)", limits);
  CHECK(some.exit_code == 0);
  CHECK(some.output_truncated);
  CHECK(some.stdout_text.size() == 1000);
  CHECK(some.stderr_text.size() == 1000);
  limits.output_bytes_total = 1 << 20;
  const CodeRun endless = run("while True: print('x' * 1000)", limits);
  CHECK(endless.output_truncated);
  CHECK(endless.exit_code == 137);
}

TEST_CASE("wall time ends a sleeping program and all it started, and nothing stays behind", "[sandbox]") {
  if (!can_isolate()) return;
  SandboxLimits limits;
  limits.wall_seconds = 3;
  const CodeRun result = run(
      "import os, sys, time\nif os.fork() == 0:\n  os.setsid()\n  os.execv('/usr/bin/sleep', ['sleep', '98765.4321'])\nprint('begun', flush=True)\ntime.sleep(60)",
      limits);
  CHECK(result.timed_out);
  CHECK(result.exit_code == 137);
  if (result.stdout_text != "begun\n") WARN("too busy a machine: the program did not begin within its wall time");
  CHECK(processes_with("98765.4321") == 0);
  limits.wall_seconds = 120;
  CHECK_FALSE(run("import os\nif os.fork() == 0:\n  os.execv('/usr/bin/sleep', ['sleep', '98765.4321'])", limits).timed_out);
  CHECK(processes_with("98765.4321") == 0);
}
