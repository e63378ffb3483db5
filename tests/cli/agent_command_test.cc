// The agent as a program that somebody stops.
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <utility>

namespace quantfleet {

TEST_CASE("an agent stopped by SIGTERM, as services are, ends with 0, by Ctrl-C with 130", "[cli]") {
  const auto [signal, code] = GENERATE(std::pair(SIGTERM, 0), std::pair(SIGINT, 130));
  const std::filesystem::path state = std::filesystem::temp_directory_path() / ("quantfleet_agent_" + std::to_string(::getpid()));
  const std::string program = test::binary_dir().string() + "/bin/quantfleet";
  int said[2];
  REQUIRE(::pipe(said) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(said[1], STDERR_FILENO);
    ::execl(program.c_str(), "quantfleet", "agent", "--coordinator", "tcp://127.0.0.1:9", "--coordinator-key",
            "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "--state", state.c_str(), "--selftest-model", "", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(said[1]);
  char letter = 0;
  while (::read(said[0], &letter, 1) == 1 && letter != '\n') {}  // its first line: it hears signals from then on
  ::kill(child, signal);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  ::close(said[0]);
  std::filesystem::remove_all(state);
  CAPTURE(signal);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == code);
}

}  // namespace quantfleet
