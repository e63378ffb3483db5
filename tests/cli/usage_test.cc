// What is said about a command line, an environment or a file that is wrong: one sentence, exit code 2.
#include "backends/formats/catalog.h"
#include "backends/formats/gguf.h"
#include "tests/cli/command.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

using test::command_folder, test::contents, test::Outcome, test::run_command;

// The sentence, where it is one, begins with the program's name and comes with exit code 2 and nothing on stdout.
std::string refusal(const std::string& arguments, const std::string& environment = "") {
  const Outcome outcome = run_command(arguments, environment);
  CAPTURE(arguments, outcome.code, outcome.out, outcome.error);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(outcome.error.starts_with("quantfleet: "));
  CHECK(std::count(outcome.error.begin(), outcome.error.end(), '\n') == 1);
  return outcome.error.substr(std::min<std::size_t>(outcome.error.size(), 12));
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_CASE("an unknown word is named, with the nearest name where one is close", "[cli]") {
  CHECK(refusal("benhc tiny.gguf") == "there is no command 'benhc' (did you mean bench?)\n");
  CHECK(refusal("frobnicate") == "there is no command 'frobnicate'\n");
  CHECK(refusal("--frobnicate") == "there is no option --frobnicate\n");
  CHECK(refusal("suites lsit") == "suites: there is no command 'lsit' (did you mean list?)\n");
  CHECK(refusal("logits tiny.gguf --tokns 1 --out o") == "logits: there is no option --tokns (did you mean --tokens?)\n");
  CHECK(refusal("inspect tiny.gguf other.gguf") == "inspect: one argument too many: 'other.gguf'\n");
  CHECK(refusal("") == "a command is needed; --help lists them\n");
  CHECK(refusal("suites") == "suites: a command is needed; --help lists them\n");
  CHECK(contains(refusal("bench tiny.gguf --threads none"), "--threads"));
}

TEST_CASE("the option --version is the version command", "[cli]") {
  const Outcome option = run_command("--version"), command = run_command("version");
  CHECK(option.code == 0);
  CHECK(option.out == command.out);
  CHECK(option.out.starts_with("quantfleet "));
}

TEST_CASE("a folder where a file is needed is named", "[cli]") {
  for (const std::string arguments :
       {"tokenize tiny.gguf --jsonl folder", "perplexity tiny.gguf --text folder", "perplexity tiny.gguf --text text.txt --reference folder",
        "quantize tiny.gguf o --format Q4_0 --imatrix folder", "imatrix tiny.gguf --text folder --out o", "quantize tiny.gguf o --budget-bpw 4 --text folder",
        "formats tiny.gguf --text folder", "generate tiny.gguf --prompt x --lora folder", "results latest --db folder", "gate --baseline a --candidate b --policy folder",
        "run folder", "submit folder", "selftest --model folder", "inspect folder"})
    CHECK(refusal(arguments).starts_with("folder: "));
}

TEST_CASE("an adapter in place of a model is told apart, its name said once", "[cli]") {
  const fs::path file = command_folder().path / "adapter.gguf";
  const std::vector<float> zeros(256);
  auto writer = GgufWriter::create(file, {{"general.type", gguf_string("adapter")}, {"adapter.type", gguf_string("lora")}, {"general.architecture", gguf_string("llama")}},
                                   {{"blk.0.attn_q.weight.lora_a", find_format("F32"), {256, 1}}});
  REQUIRE(writer.has_value());
  REQUIRE((*writer)->write(std::as_bytes(std::span(zeros))).has_value());
  REQUIRE((*writer)->finish().has_value());
  for (const std::string command : {"generate {} --prompt x", "perplexity {} --text text.txt", "tokenize {} --jsonl text.txt", "logits {} --tokens 1 --out o", "evaluate {} --suite math"}) {
    const std::string sentence = refusal(fmt::format(fmt::runtime(command), file.string()));
    CHECK(sentence == file.string() + ": is a LoRA adapter, not a model; name the model it was made for, and the adapter with --lora\n");
  }
}

TEST_CASE("what another machine's CPU has is no unknown name", "[cli]") {
#if defined(__x86_64__)
  const std::string elsewhere = "neon_dotprod";
#else
  const std::string elsewhere = "avx2";
#endif
  const std::string sentence = refusal("logits tiny.gguf --tokens 1 --out o --kernels " + elsewhere);
  CAPTURE(sentence);
  CHECK(contains(sentence, "'" + elsewhere + "' need instructions which this CPU"));
  CHECK(contains(sentence, "scalar"));
  CHECK(contains(refusal("logits tiny.gguf --tokens 1 --out o --kernels abacus"), "no kernels are called 'abacus'"));
  for (const std::string& name : {elsewhere, std::string("abacus")})  // an agent says so before it joins, not with every lease
    CHECK(contains(refusal("agent --coordinator tcp://127.0.0.1:9 --kernels " + name), "--kernels " + name + ": this CPU has "));
}

TEST_CASE("windows of a calibration are no longer than the model's context, unless somebody asks for it", "[cli]") {
  std::ofstream text(command_folder().path / "long.txt");
  for (int i = 0; i < 600; ++i) text << "the number " << i * i << '\n';
  text.close();
  for (const std::string command : {"quantize tiny.gguf gptq --format GPTQ-4bit-g32 --chunks 1", "quantize tiny.gguf o --budget-bpw 5 --chunks 2"}) {
    fs::remove_all(command_folder().path / "gptq");
    const Outcome usual = run_command(command + " --text long.txt --json");
    fs::remove_all(command_folder().path / "gptq");
    const Outcome longer = run_command(command + " --text long.txt --context 128");
    CAPTURE(command, usual.error, longer.error);
    REQUIRE(usual.code == 0);
    CHECK(nlohmann::json::parse(usual.out)["calibration"]["context"] == 96);
    CHECK_FALSE(contains(usual.error, "warning"));
    REQUIRE(longer.code == 0);
    CHECK(contains(longer.error, "warning: windows of 128 tokens, but tiny.gguf was made for 96\n"));
  }
}

TEST_CASE("convert without a format says that it is missing", "[cli]") {
  CHECK(refusal("convert tiny.gguf o") == "convert needs --format (f32, f16 or bf16), or --base for an adapter\n");
}

TEST_CASE("a limit of memory that is no number is not passed over", "[cli]") {
  CHECK(refusal("logits tiny.gguf --tokens 1 --out o", "QUANTFLEET_MEMORY_BYTES=abc") == "QUANTFLEET_MEMORY_BYTES is 'abc'; a whole number of bytes is expected\n");
}

TEST_CASE("a budget too small says what would be enough", "[cli]") {
  const std::string sentence = refusal("quantize tiny.gguf o --budget-size 1kb --text text.txt --context 64 --chunks 2");
  CAPTURE(sentence);
  const std::string before = " is too small; the least that the candidates make is ";
  REQUIRE(contains(sentence, "a budget of 1024 bytes" + before));
  const std::string least = sentence.substr(sentence.find(before) + before.size());
  const std::string bits = least.substr(0, least.find(' ')), bytes = least.substr(least.find(", ") + 2, least.find(" bytes") - least.find(", ") - 2);
  CHECK(run_command("quantize tiny.gguf o --budget-size " + bytes + " --text text.txt --context 64 --chunks 2").code == 0);
  CHECK(fs::file_size(command_folder().path / "o") <= std::stoull(bytes));
  CHECK(run_command("quantize tiny.gguf o --budget-bpw " + bits + " --text text.txt --context 64 --chunks 2").code == 0);
}

TEST_CASE("a blank line among texts to tokenize is named, as it would leave lines without partners", "[cli]") {
  std::ofstream(command_folder().path / "blank.jsonl") << "{\"text\": \"one\"}\n\n{\"text\": \"two\"}\n";
  std::ofstream(command_folder().path / "whole.jsonl") << "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
  const Outcome blank = run_command("tokenize tiny.gguf --jsonl blank.jsonl"), whole = run_command("tokenize tiny.gguf --jsonl whole.jsonl");
  CHECK(blank.code == 2);
  CHECK(contains(blank.error, "blank.jsonl: line 2: "));
  CHECK(whole.code == 0);
  CHECK(std::count(whole.out.begin(), whole.out.end(), '\n') == 2);
}

}  // namespace
}  // namespace quantfleet
