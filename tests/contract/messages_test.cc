#include "contract/messages.h"

#include <catch2/catch.hpp>

#include <limits>

using namespace quantfleet;

namespace {

const std::string kHash(64, 'a');

ItemResult full_row() {
  ItemResult row;
  row.item = {"math-17"};
  row.index = 17;
  row.scores = {{"accuracy", 1.0}, {"accuracy_norm", 0.1}};
  row.series = {{"kl_divergence", {0.5f, 0.1f, 1e-30f}}};
  row.prompt_tokens = 12;
  row.generated_tokens = 3;
  row.first_token_ms = 1.25;
  row.total_ms = 7.5;
  row.output = "forty two";
  row.group = "sums";
  row.prompt = "6 times 7?";
  row.prompt_token_ids = {1, 5, 9};
  row.request_sha256 = kHash;
  row.response = "{\"stop\":\"stop_string\",\"token_ids\":[]}";
  row.logits_digest = "0123456789abcdef";
  return row;
}

std::vector<AgentMessage> all_agent_messages() {
  Register registration;
  registration.name = "desk-1";
  registration.labels = {{"room", "lab"}};
  registration.program_version = "0.1.0+abc";
  registration.device = {"h1", "desk", "x86_64", "EPYC", 2, 1ull << 34, {"avx2", "scalar"}, {{"H200", 1ull << 37}}, "Debian"};
  registration.formats = {"F16", "Q4_K_M"};
  registration.engines = {"native"};
  registration.suites = {{"math", "1", kHash, "math", "generate", 300, 0.25, "", {{"accuracy", "mean"}, {"accuracy_norm", "median"}}},
                         {"coding", "1", kHash, "coding", "code", 300, 0, "bubblewrap is not installed", {}}};
  registration.selftest = {{"Q4_0/int8/prefill67", "ff00"}};
  registration.artifacts = {kHash};
  ResultBatch batch{{"run/accuracy/0"}, LeaseEpoch{3}, 9, {full_row()}};
  batch.rows.push_back({});
  batch.rows.back().item = {"math-18"};
  batch.rows.back().error = Error{Code::kTimeout, "60 s passed"};
  UnitFinished finished;
  finished.unit = {"run/quantize/0"};
  finished.epoch = LeaseEpoch{1};
  finished.sequence = 10;
  finished.artifact = Artifact{kHash, 77, "model", {{"bits_per_weight", 4.5}}};
  finished.provenance = {"0.1.0", kHash, "Q4_0", "int8", "f16", std::string(kHash) + ":0.5", "native", "avx2", "", "", "", "h1", 2, 18446744073709551615ull, true};
  finished.telemetry = {{"energy_j", "powercap", 0, 0, 0, 0, 0, "no RAPL on this machine"}};
  return {registration, Heartbeat{RunningLease{{"u"}, LeaseEpoch{2}, 5}, true}, Heartbeat{}, batch, finished,
          LeaseRefused{{"u"}, LeaseEpoch{2}, "disk is full"}, Goodbye{}};
}

std::vector<CoordinatorMessage> all_coordinator_messages() {
  FormatRecipe recipe;
  recipe.name = "gptq";
  recipe.format = "GPTQ-4bit-g128";
  recipe.text_sha256 = kHash;
  recipe.context = 256, recipe.chunks = 7, recipe.seed = 3;
  recipe.damping = 0.25, recipe.mse = true, recipe.bpw = 3.5, recipe.smoothquant = 0.5, recipe.rotate = true, recipe.rotate_seed = 9;
  recipe.candidates = {"Q4_K"};
  return {Registered{2, "tcp://:5556"},
          GrantLease{{"u"}, LeaseEpoch{1}, 30, 7, QuantizeWork{kHash, "Q4_0"}},
          GrantLease{{"u"}, LeaseEpoch{1}, 30, 7, QuantizeWork{kHash, "GPTQ-4bit-g128", recipe}},
          GrantLease{{"u"}, LeaseEpoch{1}, 30, 7, ReferenceLogitsWork{kHash, "wiki", 0, 4, "f32"}},
          GrantLease{{"u"}, LeaseEpoch{1}, 30, 7, AccuracyWork{kHash, "Q4_0", "int8", "q8_0", "math", 50, 100, {51, 60}, "", 60, 0, "", false, {{kHash, -0.5}}, "lab-vllm", kHash}},
          GrantLease{{"u"}, LeaseEpoch{1}, 30, 7, TimingWork{kHash, "Q4_0", "int8", "q4_0", TimingSpec{}}},
          Acknowledge{44},
          CancelLease{{"u"}, LeaseEpoch{2}, "the run was cancelled"},
          Refused{Error{Code::kNotAdmitted, "no such key"}}};
}

}  // namespace

TEST_CASE("every message reads back as it was written", "[messages]") {
  for (const AgentMessage& message : all_agent_messages()) {
    CAPTURE(encode(message));
    const auto read = decode_agent_message(encode(message));
    REQUIRE(read.has_value());
    CHECK(*read == message);
  }
  for (const CoordinatorMessage& message : all_coordinator_messages()) {
    CAPTURE(encode(message));
    const auto read = decode_coordinator_message(encode(message));
    REQUIRE(read.has_value());
    CHECK(*read == message);
  }
}

TEST_CASE("output that is not UTF-8 survives the wire byte for byte", "[messages]") {
  ItemResult row = full_row();
  row.output = std::string("caf\xe9 \x00\xff", 7);
  const auto read = decode_item_result(encode(row));
  REQUIRE(read.has_value());
  CHECK(*read == row);
}

TEST_CASE("a score that is not finite is absent on the wire", "[messages]") {
  ItemResult row = full_row();
  row.scores["energy_j_per_token"] = std::numeric_limits<double>::quiet_NaN();
  const auto read = decode_item_result(encode(row));
  REQUIRE(read.has_value());
  CHECK_FALSE(read->scores.contains("energy_j_per_token"));
}

TEST_CASE("every proper prefix of a message is refused", "[messages]") {
  for (const AgentMessage& message : all_agent_messages()) {
    const std::string text = encode(message);
    for (std::size_t length = 0; length < text.size(); ++length) {
      INFO(text.substr(0, length));
      REQUIRE_FALSE(decode_agent_message(std::string_view(text).substr(0, length)).has_value());
    }
  }
}

TEST_CASE("a message that breaks a rule is refused with the field's name", "[messages]") {
  const auto problem = [](std::string_view text) {
    const auto read = decode_agent_message(text);
    return read ? std::string("accepted") : read.error().detail;
  };
  CHECK_THAT(problem(R"({"type":"dance"})"), Catch::Contains("type") && Catch::Contains("dance"));
  CHECK_THAT(problem(R"({"type":"heartbeat"})"), Catch::Contains("draining: is missing"));
  CHECK_THAT(problem(R"({"type":"heartbeat","draining":1})"), Catch::Contains("draining: expected true or false"));
  CHECK_THAT(problem(R"({"type":"heartbeat","draining":true,"x":1})"), Catch::Contains("x: unknown key"));
  CHECK_THAT(problem(R"({"type":"goodbye","type":"goodbye"})"), Catch::Contains("twice"));
  CHECK_THAT(problem(R"({"type":"lease_refused","unit":"","epoch":1,"reason":""})"), Catch::Contains("unit: must not be empty"));
  CHECK_THAT(problem(R"({"type":"lease_refused","unit":"u","epoch":-1,"reason":""})"), Catch::Contains("epoch"));
  CHECK_THAT(problem(R"({"type":"lease_refused","unit":"u","epoch":1.5,"reason":""})"), Catch::Contains("epoch"));
  CHECK_THAT(problem(R"({"type":"lease_refused","unit":"u","epoch":99999999999999999999,"reason":""})"), Catch::Contains("epoch"));
  CHECK_THAT(problem("[]"), Catch::Contains("expected a map"));
  CHECK_THAT(problem(std::string(100, '[')), Catch::Contains("not valid JSON") || Catch::Contains("nested"));
  CHECK_THAT(problem(std::string(100, '[') + std::string(100, ']')), Catch::Contains("nested"));
  const auto range = decode_grant_lease(
      R"({"type":"grant_lease","unit":"u","epoch":1,"expires_in_seconds":30,"seed":1,"work":{"kind":"reference_logits",)"
      R"("model_sha256":")" + kHash + R"(","suite":"s","item_begin":5,"item_end":4,"activations":"f32","kv":"f32"}})");
  REQUIRE_FALSE(range.has_value());
  CHECK_THAT(range.error().detail, Catch::Contains("work.item_end: is below item_begin"));
}

TEST_CASE("artifact chunks travel as a header and a frame of bytes", "[messages]") {
  const Frames question = encode(ArtifactRequest{StoreChunk{kHash, 4, 8, "model", std::string("\0\1\2\3", 4)}});
  const auto read = decode_artifact_request(question.header, question.bytes);
  REQUIRE(read.has_value());
  CHECK(std::get<StoreChunk>(*read).bytes == std::string("\0\1\2\3", 4));
  SECTION("bytes beyond the end of the artifact are refused") {
    CHECK_FALSE(decode_artifact_request(question.header, "12345").has_value());
  }
  SECTION("a question needs no bytes") {
    CHECK_FALSE(decode_artifact_request(encode(ArtifactRequest{FetchChunk{kHash, 0}}).header, "x").has_value());
  }
  SECTION("every answer reads back") {
    for (const ArtifactReply& reply : {ArtifactReply{Chunk{kHash, 0, 3, "abc"}}, ArtifactReply{ChunkStored{kHash, 3, true}},
                                       ArtifactReply{ArtifactRefused{kHash, Error{Code::kNotFound, "no such artifact"}}}}) {
      const Frames frames = encode(reply);
      const auto answer = decode_artifact_reply(frames.header, frames.bytes);
      REQUIRE(answer.has_value());
      CHECK(answer->index() == reply.index());
    }
  }
}
