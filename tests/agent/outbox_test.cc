#include "agent/outbox/outbox.h"

#include <catch2/catch.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace quantfleet;
using namespace quantfleet::agent;
using namespace std::chrono_literals;

namespace {

ResultBatch batch(const std::string& item) {
  ResultBatch message;
  message.unit = UnitId{"u1"};
  message.epoch = LeaseEpoch{1};
  ItemResult row;
  row.item = ItemId{item};
  row.output = "an answer";
  message.rows.push_back(row);
  return message;
}

std::uint64_t sequence_of(const std::string& bytes) {
  const Result<AgentMessage> message = decode_agent_message(bytes);
  REQUIRE(message.has_value());
  if (const auto* b = std::get_if<ResultBatch>(&*message)) return b->sequence;
  return std::get<UnitFinished>(*message).sequence;
}

struct TemporaryFile {
  std::filesystem::path path = std::filesystem::temp_directory_path() / ("quantfleet-outbox-" + std::to_string(::getpid()));
  ~TemporaryFile() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("a message is sent again until it is acknowledged, then the next one follows", "[outbox]") {
  MemoryOutboxLog log;
  Outbox outbox = Outbox::open(log, {}).value();
  REQUIRE(outbox.append(batch("a")).has_value());
  REQUIRE(outbox.append(batch("b")).has_value());
  CHECK(sequence_of(outbox.due(0ms).value()) == 1);
  CHECK_FALSE(outbox.due(1999ms));
  CHECK(sequence_of(outbox.due(2000ms).value()) == 1);
  REQUIRE(outbox.acknowledge(1).has_value());
  CHECK(sequence_of(outbox.due(2001ms).value()) == 2);
  outbox.resend_now();
  CHECK(sequence_of(outbox.due(2002ms).value()) == 2);
  REQUIRE(outbox.acknowledge(2).has_value());
  CHECK(outbox.empty());
  CHECK_FALSE(outbox.due(9000ms));
}

TEST_CASE("an acknowledgement never covers a message that was not sent", "[outbox]") {
  MemoryOutboxLog log;
  Outbox outbox = Outbox::open(log, {}).value();
  REQUIRE(outbox.append(batch("a")).has_value());
  REQUIRE(outbox.append(batch("b")).has_value());
  CHECK(outbox.due(0ms));
  REQUIRE(outbox.acknowledge(99).has_value());
  CHECK(outbox.size() == 1);
  REQUIRE(outbox.acknowledge(1).has_value());
  CHECK(outbox.size() == 1);
}

TEST_CASE("what was not acknowledged and the numbering survive a restart", "[outbox]") {
  TemporaryFile file;
  {
    auto log = open_outbox_file(file.path).value();
    Outbox outbox = Outbox::open(*log, {}).value();
    for (const char* item : {"a", "b", "c"}) REQUIRE(outbox.append(batch(item)).has_value());
    CHECK(outbox.due(0ms));
    REQUIRE(outbox.acknowledge(1).has_value());
  }
  auto log = open_outbox_file(file.path).value();
  Outbox outbox = Outbox::open(*log, {}).value();
  CHECK(outbox.size() == 2);
  CHECK(sequence_of(outbox.due(0ms).value()) == 2);
  REQUIRE(outbox.append(batch("d")).has_value());
  REQUIRE(outbox.acknowledge(2).has_value());
  CHECK(outbox.due(1ms));
  REQUIRE(outbox.acknowledge(3).has_value());
  CHECK(sequence_of(outbox.due(2ms).value()) == 4);
}

TEST_CASE("an emptied log is rewritten and still remembers the next number", "[outbox]") {
  TemporaryFile file;
  {
    auto log = open_outbox_file(file.path).value();
    Outbox outbox = Outbox::open(*log, {}).value();
    for (int i = 0; i < 200; ++i) {
      REQUIRE(outbox.append(batch("x")).has_value());
      REQUIRE(outbox.due(Time(i)));
      REQUIRE(outbox.acknowledge(static_cast<std::uint64_t>(i) + 1).has_value());
    }
  }
  CHECK(std::filesystem::file_size(file.path) < 40'000);
  auto log = open_outbox_file(file.path).value();
  Outbox outbox = Outbox::open(*log, {}).value();
  CHECK(outbox.empty());
  REQUIRE(outbox.append(batch("y")).has_value());
  CHECK(sequence_of(outbox.due(0ms).value()) == 201);
}

TEST_CASE("a record torn by a power loss is cut off, those before it stay", "[outbox]") {
  TemporaryFile file;
  {
    auto log = open_outbox_file(file.path).value();
    Outbox outbox = Outbox::open(*log, {}).value();
    for (const char* item : {"a", "b"}) REQUIRE(outbox.append(batch(item)).has_value());
  }
  const auto whole = std::filesystem::file_size(file.path);
  std::filesystem::resize_file(file.path, whole - GENERATE(1, 7, 60));
  {
    auto log = open_outbox_file(file.path).value();
    Outbox outbox = Outbox::open(*log, {}).value();
    CHECK(outbox.size() == 1);
    REQUIRE(outbox.append(batch("c")).has_value());
  }
  auto log = open_outbox_file(file.path).value();
  CHECK(Outbox::open(*log, {}).value().size() == 2);
}

TEST_CASE("a log of something else is an error, not lost results", "[outbox]") {
  MemoryOutboxLog log;
  REQUIRE(log.append("hello", true).has_value());
  CHECK_FALSE(Outbox::open(log, {}).has_value());
}

TEST_CASE("two agents cannot share one outbox", "[outbox]") {
  TemporaryFile file;
  auto log = open_outbox_file(file.path).value();
  const auto second = open_outbox_file(file.path);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().detail.find("another agent") != std::string::npos);
}

TEST_CASE("the outbox is full beyond its limit and recovers with acknowledgements", "[outbox]") {
  MemoryOutboxLog log;
  Outbox outbox = Outbox::open(log, {.full_bytes = 400}).value();
  REQUIRE(outbox.append(batch("a")).has_value());
  REQUIRE(outbox.append(batch("b")).has_value());
  CHECK(outbox.full());
  CHECK(outbox.due(0ms));
  REQUIRE(outbox.acknowledge(1).has_value());
  CHECK_FALSE(outbox.full());
}
