#include "agent/runner/host_lock.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <thread>

using namespace quantfleet;
using namespace quantfleet::agent;

namespace {

struct Place {
  std::filesystem::path prefix = std::filesystem::temp_directory_path() / ("quantfleet-lock-" + std::to_string(::getpid()));
  ~Place() {
    std::filesystem::remove(prefix.string() + ".gate");
    std::filesystem::remove(prefix.string() + ".lock");
  }
};

}  // namespace

TEST_CASE("sharers share, and whoever measures alone is alone", "[host_lock]") {
  using Mode = HostLock::Mode;
  Place place;
  std::optional<HostLock> first = HostLock::acquire(Mode::kShared, place.prefix).value();
  std::optional<HostLock> second = HostLock::try_acquire(Mode::kShared, place.prefix).value();
  const auto alone = HostLock::try_acquire(Mode::kAlone, place.prefix);
  REQUIRE_FALSE(alone.has_value());
  CHECK(alone.error().code == Code::kTimeout);
  first.reset();
  CHECK_FALSE(HostLock::try_acquire(Mode::kAlone, place.prefix).has_value());
  second.reset();
  std::optional<HostLock> only = HostLock::try_acquire(Mode::kAlone, place.prefix).value();
  CHECK_FALSE(HostLock::try_acquire(Mode::kShared, place.prefix).has_value());
  only.reset();
  CHECK(HostLock::try_acquire(Mode::kShared, place.prefix).has_value());
}

TEST_CASE("newcomers wait behind one who waits to be alone", "[host_lock]") {
  using Mode = HostLock::Mode;
  Place place;
  std::optional<HostLock> sharer = HostLock::acquire(Mode::kShared, place.prefix).value();
  std::optional<HostLock> alone;
  std::thread waiter([&] { alone = HostLock::acquire(Mode::kAlone, place.prefix).value(); });
  // The waiter stands in the gate sooner or later; from then on no sharer gets past it.
  while (HostLock::try_acquire(Mode::kShared, place.prefix).has_value()) std::this_thread::yield();
  sharer.reset();
  waiter.join();
  CHECK_FALSE(HostLock::try_acquire(Mode::kShared, place.prefix).has_value());
}
