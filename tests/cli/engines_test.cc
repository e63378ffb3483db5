// Adapters and inference servers as a script uses them: evaluate, perplexity, convert and plans; JSON against its schema, exit codes.
#include "tests/cli/command.h"
#include "tests/fake_inference_server.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const std::string kModel = (test::source_dir() / "models/reference/reference.gguf").string();
const fs::path kGolden = test::source_dir() / "tests/golden";

using test::check_schema, test::Outcome;

}  // namespace

TEST_CASE("an adapter is converted, applied, recorded, and travels with a plan", "[cli]") {
  const test::CommandFolder folder;
  fs::create_directories(folder.path / "base");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "llama/config.json", "llama/model.safetensors"})
    fs::copy_file(kGolden / "huggingface" / file, folder.path / "base" / fs::path(file).filename());
  const std::string peft = (kGolden / "lora/llama").string();
  std::ofstream(folder.path / "text.txt") << std::string(40, 'a') << "the river runs past the old mill, and boats wait. int main() { return 0; } the the the";
  REQUIRE(folder.run("convert base base.gguf --format bf16").code == 0);
  check_schema("convert_adapter", folder.json_of("convert " + peft + " adapter.gguf --base base.gguf --json"));

  const std::string perplexity = "perplexity base.gguf --text text.txt --context 32 --json";
  const Json plain = folder.json_of(perplexity), tuned = folder.json_of(perplexity + " --lora adapter.gguf"), by_folder = folder.json_of(perplexity + " --lora " + peft),
             half = folder.json_of(perplexity + " --lora adapter.gguf:0.5"), none = folder.json_of(perplexity + " --lora adapter.gguf:0");
  check_schema("perplexity", tuned);
  CHECK(plain["lora"] == "");
  CHECK(tuned["lora"].get<std::string>().size() == 64);
  CHECK(half["lora"] == tuned["lora"].get<std::string>() + ":0.5");
  CHECK(tuned["logits_digest"] == by_folder["logits_digest"]);
  CHECK(tuned["logits_digest"] != plain["logits_digest"]);
  CHECK(half["logits_digest"] != tuned["logits_digest"]);
  CHECK(none["logits_digest"] == plain["logits_digest"]);
  const Json compared = folder.json_of(perplexity + " --lora adapter.gguf --reference base.gguf --reference-lora adapter.gguf");
  CHECK(compared["mean_kl_divergence"] == 0);
  CHECK(folder.json_of(perplexity + " --lora adapter.gguf --reference base.gguf")["mean_kl_divergence"] > 0);

  SECTION("an adapter of another model is one sentence, exit code 2") {
    const Outcome refused = folder.run("perplexity " + kModel + " --text text.txt --context 32 --lora adapter.gguf");
    CAPTURE(refused.error);
    CHECK(refused.code == 2);
    CHECK(refused.error.find("adapter.gguf: tensor blk.0.attn_q.weight is of a matrix [32, 32]") != std::string::npos);
    CHECK(std::count(refused.error.begin(), refused.error.end(), '\n') == 1);
  }
  SECTION("in a plan") {
    const auto plan = [&](const std::string& lora) {
      std::ofstream(folder.path / "plan.yaml") << "name: tuned\nmodels: [{name: tuned, path: base.gguf, lora: " << lora << "}]\nformats: [F16, Q8_0]\n"
                                                  "suites: [{name: knowledge, limit: 2}]\ntiming: {prompt_tokens: 4, generated_tokens: 1, repetitions: 1}\n";
    };
    plan("[{path: adapter.gguf, scale: 0.5}]");
    REQUIRE(folder.run("run plan.yaml --db results.db").code == 0);
    const Json results = folder.json_of("results latest --db results.db --json");
    check_schema("results", results);
    REQUIRE(results.size() == 2);
    for (const Json& line : results) {
      CHECK(line["lora"] == half["lora"]);
      CHECK(line["engine"] == "native");
      CHECK(line["errors"] == 0);
    }
    plan(peft);
    const Outcome refused = folder.run("run plan.yaml --db results.db");
    CHECK(refused.code == 2);
    CHECK(refused.error.find("--base MODEL") != std::string::npos);
    plan("nothing.gguf");
    CHECK(folder.run("run plan.yaml --db results.db").code == 2);
  }
}

TEST_CASE("evaluate and plans measure through a server what the model itself would answer", "[cli]") {
  const test::CommandFolder folder;
  EngineOptions options;
  options.model = kModel;
  const auto native = NativeEngine::open(options).value();
  test::FakeInferenceServer server("llama-server", *native);
  test::FakeInferenceServer::Behaviour behaviour;
  behaviour.context_tokens = 512;
  server.behave(behaviour);
  const std::string through = "evaluate " + kModel + " --engine " + server.url() + " --dialect llama-server --limit 2 --json --suite ";

  const Json ours = folder.json_of("evaluate " + kModel + " --limit 2 --json --suite math"), theirs = folder.json_of(through + "math knowledge");
  check_schema("evaluate", theirs);
  CHECK(theirs["engine"] == "llama-server");
  CHECK(theirs["model_sha256"] == ours["model_sha256"]);
  CHECK(theirs["threads"].is_null());
  CHECK(theirs["connections"] == 8);
  CHECK(ours["connections"].is_null());
  for (std::size_t i = 0; i < 2; ++i) CHECK(theirs["suites"][0]["rows"][i]["output"] == ours["suites"][0]["rows"][i]["output"]);
  CHECK(theirs["suites"][0]["accuracy"] == ours["suites"][0]["accuracy"]);
  CHECK(ours["suites"][0]["rows"][0]["first_token_ms"] > 0);
  CHECK(theirs["suites"][0]["rows"][0]["first_token_ms"].is_null());  // nobody measured it
  CHECK(theirs["suites"][1]["rows"].empty());
  CHECK(theirs["suites"][1]["not_run"].get<std::string>().find("log-probabilities") != std::string::npos);
  CHECK(folder.run(through + "knowledge").code == 2);

  SECTION("a server that tokenizes otherwise is refused before the first item") {
    behaviour.instead = [](const std::string& path, const Json&) -> std::optional<test::FakeReply> {
      return path == "/tokenize" ? std::optional(test::FakeReply{R"({"tokens":[1,2,3]})"}) : std::nullopt;
    };
    server.behave(behaviour);
    const std::size_t asked = server.asked().size();
    const Outcome refused = folder.run(through + "math");
    CAPTURE(refused.error);
    CHECK(refused.code == 2);
    CHECK(refused.error.find("gives [1, 2, 3], expected [") != std::string::npos);
    CHECK(server.asked().size() == asked + 1);
  }
  SECTION("in a plan, under the name that the agent has for it") {
    std::ofstream(folder.path / "plan.yaml") << "name: served\nmodels: [{name: m, path: " << kModel << ", engine: lab}]\nformats: [as-is]\nsuites: [{name: math, limit: 2}]\ntiming: off\n";
    const Outcome missing = folder.run("run plan.yaml --db results.db");
    CHECK(missing.code == 2);
    CHECK(missing.error.find("no agent has an engine called \"lab\"") != std::string::npos);
    const Outcome done = folder.run("run plan.yaml --db results.db --engine lab=llama-server@" + server.url());
    CAPTURE(done.error);
    REQUIRE(done.code == 0);
    const Json results = folder.json_of("results latest --db results.db --json");
    check_schema("results", results);
    REQUIRE(results.size() == 1);
    CHECK(results[0]["engine"] == "llama-server");
    CHECK(results[0]["errors"] == 0);
    CHECK(results[0]["accuracy"] == ours["suites"][0]["accuracy"]);
  }
  SECTION("in a plan, too, a server that tokenizes otherwise computes nothing") {
    std::ofstream(folder.path / "plan.yaml") << "name: served\nmodels: [{name: m, path: " << kModel << ", engine: lab}]\nformats: [as-is]\nsuites: [{name: math, limit: 2}]\ntiming: off\n";
    behaviour.instead = [](const std::string& path, const Json&) -> std::optional<test::FakeReply> {
      return path == "/tokenize" ? std::optional(test::FakeReply{R"({"tokens":[1,2,3]})"}) : std::nullopt;
    };
    server.behave(behaviour);
    const std::size_t before = server.asked().size();
    CHECK(folder.run("run plan.yaml --db results.db --engine lab=llama-server@" + server.url()).code == 2);
    for (std::size_t i = before; i < server.asked().size(); ++i) CHECK(server.asked()[i].contains("content"));  // /tokenize alone
  }
  SECTION("in a plan, a server that answers nothing measures nothing, and the gate cannot judge it") {
    std::ofstream(folder.path / "plan.yaml") << "name: served\nmodels: [{name: m, path: " << kModel << ", engine: lab}]\nformats: [as-is]\nsuites: [{name: math, limit: 2}]\ntiming: off\n";
    behaviour.instead = [](const std::string& path, const Json&) -> std::optional<test::FakeReply> {
      return path == "/completion" ? std::optional(test::FakeReply{R"({"error":"broken"})", 500}) : std::nullopt;
    };
    server.behave(behaviour);
    const Outcome run = folder.run("run plan.yaml --db results.db --json --engine lab=llama-server@" + server.url());
    CAPTURE(run.error);
    CHECK(run.code == 4);
    CHECK(run.error.find(": no item was answered; the first error is of math math-") != std::string::npos);
    const Json results = Json::parse(run.out);
    check_schema("results", results);
    CHECK(results[0]["errors"] == 2);
    CHECK(results[0]["accuracy"].is_null());
    CHECK(results[0]["verdict"] == "UNKNOWN");
    const Outcome gate = folder.run("gate --baseline latest --candidate latest --db results.db --json");
    CHECK(gate.code == 3);
    const Json judged = Json::parse(gate.out);
    check_schema("gate", judged);
    CHECK(judged["candidate"] == results[0]["run"]);  // an id, not "latest"
    CHECK(judged["baseline"] == results[0]["run"]);
    const Outcome gone = folder.run("run plan.yaml --db other.db --engine lab=llama-server@http://127.0.0.1:1");
    CHECK(gone.code == 4);
    CHECK(gone.error.find("1 of 1 units failed: http://127.0.0.1:1") != std::string::npos);
  }
  SECTION("what the server alone decides cannot be asked for here") {
    for (const char* option : {"--kernels scalar", "--activations f32", "--kv q8_0", "--pin"}) {
      const Outcome refused = folder.run(through + "math " + option);
      CAPTURE(option, refused.error);
      CHECK(refused.code == 2);
      CHECK(refused.error.find("excludes") != std::string::npos);
    }
    CHECK(folder.run("evaluate " + kModel + " --engine " + server.url() + " --dialect llama-server --limit 1 --suite math").out.find("the-model, answered by llama-server b1-abc, 8 connections\n") == 0);
  }
  SECTION("a server that answers nothing is an environment's error, one that answers some is not") {
    int asked = 0;
    const auto completions = [&](auto answer) {
      behaviour.instead = [&asked, answer](const std::string& path, const Json&) -> std::optional<test::FakeReply> {
        return path == "/completion" ? answer(asked++) : std::nullopt;
      };
      server.behave(behaviour);
    };
    const test::FakeReply bad = GENERATE(test::FakeReply{R"({"error":"broken"})", 500}, test::FakeReply{"<html>hello</html>"}, test::FakeReply{R"({"choices":[]})"});
    completions([bad](int) { return std::optional(bad); });
    const Outcome none = folder.run(through + "math");
    CAPTURE(bad.body, none.error);
    CHECK(none.code == 4);
    CHECK(none.error.find("quantfleet: no item was answered; the first error is of math math-") == 0);
    CHECK(std::count(none.error.begin(), none.error.end(), '\n') == 1);
    const Json suite = Json::parse(none.out)["suites"][0];
    CHECK(suite["errors"] == 2);
    CHECK(suite["accuracy"].is_null());
    completions([bad](int count) { return count % 2 == 0 ? std::optional(bad) : std::nullopt; });
    const Outcome some = folder.run(through + "math --engine-connections 1");
    CHECK(some.code == 0);
    CHECK(Json::parse(some.out)["suites"][0]["errors"] == 1);
  }
  SECTION("a server that is gone is an environment's error") {
    const Outcome gone = folder.run("evaluate " + kModel + " --engine http://127.0.0.1:1 --dialect vllm --suite math");
    CHECK(gone.code == 4);
    CHECK(gone.error.find("http://127.0.0.1:1") != std::string::npos);
    CHECK(folder.run("evaluate " + kModel + " --engine nonsense --suite math").code == 2);
  }
}

}  // namespace quantfleet
