// The commands that run a model, as programs: output, JSON against its schema, exit codes.
#include "tests/cli/command.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

using test::check_schema, test::contents, test::kBin, test::Outcome;

const test::CommandFolder& folder() { return test::command_folder(); }

Outcome run(const std::string& arguments, const std::string& before = "") { return folder().run(arguments, before); }

void write(const std::string& name, const std::string& bytes) { std::ofstream(folder() / name, std::ios::binary) << bytes; }

TEST_CASE("logits writes one row per token, the same for any thread count", "[cli]") {
  const Outcome one = run("logits tiny.gguf --tokens 1,2,3 --out a.f32 -t 1 --json");
  CAPTURE(one.error);
  REQUIRE(one.code == 0);
  check_schema("logits", nlohmann::json::parse(one.out));
  CHECK(nlohmann::json::parse(one.out)["tokens"] == 3);
  CHECK(fs::file_size(folder() / "a.f32") == 3 * 400 * 4);
  REQUIRE(run("logits tiny.gguf --tokens '1, 2,3' --out b.f32 -t 3 --kernels scalar").code == 0);
  CHECK(contents(folder() / "a.f32") == contents(folder() / "b.f32"));
  SECTION("what is wrong is said in one line, with exit code 2") {
    for (const std::string bad : {"--tokens 1,x --out o", "--tokens 1,400 --out o", "--tokens 1 --out o --kernels abacus", "--out o"}) {
      const Outcome outcome = run("logits tiny.gguf " + bad);
      CAPTURE(bad, outcome.error);
      CHECK(outcome.code == 2);
      CHECK_FALSE(outcome.error.empty());
    }
    CHECK(run("logits /no/such.gguf --tokens 1 --out o").code == 2);
  }
}

TEST_CASE("perplexity prints what its schema says, with and without a reference", "[cli]") {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "the number " + std::to_string(i * i) + "\n";
  write("text.txt", text);
  const std::string base = "perplexity tiny.gguf --text text.txt --context 64 --json";
  const Outcome alone = run(base);
  CAPTURE(alone.error);
  REQUIRE(alone.code == 0);
  check_schema("perplexity", nlohmann::json::parse(alone.out));
  const Outcome compared = run(base + " --reference tiny.gguf");
  REQUIRE(compared.code == 0);
  const auto json = nlohmann::json::parse(compared.out);
  check_schema("perplexity", json);
  CHECK(json["mean_kl_divergence"] == 0);
  CHECK(json["top1_agreement"] == 1);
  CHECK(json["perplexity_ratio"] == 1);
  CHECK(run("perplexity tiny.gguf --text /no/such/text").code == 2);
}

TEST_CASE("distributions kept in a file stand for the reference model: 96 bytes a token, the same numbers within the stated error", "[cli]") {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "the number " + std::to_string(i * i) + "\n";
  write("kept.txt", text);
  const std::string tiny = (folder() / "tiny.gguf").string(), small = (folder() / "small.gguf").string(), kept = (folder() / "kept.logits").string();
  REQUIRE(run("quantize " + tiny + " " + small + " --format Q4_0").code == 0);
  const std::string options = " --text kept.txt --json";
  const Outcome written = run("perplexity " + tiny + options + " --context 64 --write-reference " + kept);
  CAPTURE(written.error);
  REQUIRE(written.code == 0);
  check_schema("perplexity", nlohmann::json::parse(written.out));
  const double tokens = nlohmann::json::parse(written.out)["tokens"];
  CHECK(static_cast<double>(fs::file_size(kept)) / tokens <= 100);
  CHECK_FALSE(fs::exists(kept + ".unfinished"));
  const Outcome from_file = run("perplexity " + small + options + " --reference " + kept);  // the window is the file's
  const Outcome from_model = run("perplexity " + small + options + " --context 64 --reference " + tiny);
  CAPTURE(from_file.error, from_model.error);
  REQUIRE(from_file.code == 0);
  REQUIRE(from_model.code == 0);
  const auto brief = nlohmann::json::parse(from_file.out), whole = nlohmann::json::parse(from_model.out);
  check_schema("perplexity", brief);
  check_schema("perplexity", whole);
  const auto number = [](const nlohmann::json& json, const char* name) { return json[name].get<double>(); };
  CHECK(number(whole, "mean_kl_divergence") > 1e-4);
  CHECK(std::abs(number(brief, "mean_kl_divergence") - number(whole, "mean_kl_divergence")) <
        4 * number(brief, "mean_kl_divergence_estimation_error") + 1e-5);
  CHECK(number(brief, "mean_kl_divergence_lower_bound") < number(whole, "mean_kl_divergence") + 1e-5);
  CHECK(number(whole, "mean_kl_divergence_estimation_error") == 0);
  CHECK(number(brief, "top1_agreement") == number(whole, "top1_agreement"));
  CHECK(number(brief, "perplexity_ratio") == Approx(number(whole, "perplexity_ratio")).epsilon(1e-5));
  CHECK(number(brief, "mean_delta_p") == Approx(number(whole, "mean_delta_p")).margin(1e-6));
  SECTION("a file that cannot belong is refused with a sentence") {
    CHECK(run("perplexity " + small + options + " --context 32 --reference " + kept).code == 2);
    CHECK(run("perplexity " + small + " --text tiny.gguf --reference " + kept).code == 2);
    write("cut.logits", contents(kept).substr(0, 1000));
    CHECK(run("perplexity " + small + options + " --reference cut.logits").code == 2);
    CHECK(run("perplexity " + small + options + " --reference " + kept + " --write-reference x").code == 2);
  }
}

TEST_CASE("bench prints what its schema says", "[cli]") {
  const Outcome outcome = run("bench tiny.gguf -p 16 -n 4 -r 2 -t 1 --json");
  CAPTURE(outcome.error);
  REQUIRE(outcome.code == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  check_schema("bench", json);
  CHECK(json["prefill_tokens_per_s"]["samples"].size() == 2);

  // A decoded token passes the output layer, a prompt's only as its last one.
  const auto once = nlohmann::json::parse(run("bench tiny.gguf -p 16 -n 4 -r 1 -t 1 --json").out);
  const auto per_token = [&](const char* share, const char* speed) { return once[share].get<double>() / once[speed]["median"].get<double>(); };
  const double ratio = per_token("decode_peak_share", "decode_tokens_per_s") / per_token("f32_peak_share", "prefill_tokens_per_s");
  CHECK(ratio > 1);
  CHECK(ratio < 16);

  // What decoding reads beside the weights, as a share of them: keys and values of the 19 positions that a step sees on average.
  const auto read_beside = [](const std::string& options) {
    const auto shares = nlohmann::json::parse(run("bench tiny.gguf -n 5 -r 1 -t 1 --json " + options).out);
    return shares.at("bandwidth_share").get<double>() / shares.at("weights_bandwidth_share").get<double>() - 1;
  };
  const double floats = read_beside("-p 16");
  CHECK(floats > 0);
  CHECK(read_beside("-p 16 --kv f16") == Approx(floats / 2).epsilon(1e-6));
  CHECK(read_beside("-p 35") == Approx(2 * floats).epsilon(1e-6));
  CHECK(read_beside("-p 16 --batch 3") == Approx(3 * floats).epsilon(1e-6));
}

TEST_CASE("bench --suite measures both sides, and says so by its schema", "[cli]") {
  const Outcome outcome = run("bench tiny.gguf --suite --items 6 --header-tokens 20 --sequences 3 -p 8 -n 4 -r 2 -t 1 --kv q8_0 --json");
  CAPTURE(outcome.error);
  REQUIRE(outcome.code == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  check_schema("bench_suite", json);
  CHECK(json["kv"] == "q8_0");
  CHECK(json["multiple_choice"]["times"]["samples"].size() == 2);
  const auto& choice = json["multiple_choice"];
  CHECK(choice["tokens_of_one_item"] > choice["tokens_of_one_request"].get<int>());  // choices share their context ...
  CHECK(choice["tokens_of_one_item"] < 4 * choice["tokens_of_one_request"].get<int>());
  CHECK(choice["tokens_of_all_together"] < 6 * choice["tokens_of_one_item"].get<int>());  // ... and items their header
  CHECK(json["generation"]["times_possible"] >= 1);
  CHECK(json["generation"]["times_possible"] <= 3);
  CHECK(run("bench tiny.gguf --items 6").code == 2);
}

TEST_CASE("what the KV cache holds changes the answer, and is said", "[cli]") {
  const std::string command = "logits tiny.gguf --tokens 1,2,3,4,5,6 --out kv.f32 --json --kv ";
  std::set<std::string> digests;
  for (const std::string kv : {"f32", "f16", "q8_0", "q4_0"}) {
    const Outcome outcome = run(command + kv);
    REQUIRE(outcome.code == 0);
    CHECK(nlohmann::json::parse(outcome.out)["kv"] == kv);
    digests.insert(nlohmann::json::parse(outcome.out)["logits_digest"].get<std::string>());
    CHECK(nlohmann::json::parse(run(command + kv + " --kernels scalar -t 2").out)["logits_digest"] == nlohmann::json::parse(outcome.out)["logits_digest"]);
  }
  CHECK(digests.size() == 4);
  CHECK(run(command + "q2_k").code == 2);
}

TEST_CASE("a model that does not fit into memory, or a text into the context, is refused with the numbers", "[cli]") {
  const Outcome large = run("logits tiny.gguf --tokens 1 --out o.f32", "QUANTFLEET_MEMORY_BYTES=1000000 ");
  CHECK(large.code == 4);
  CAPTURE(large.error);
  CHECK(large.error.find("1.0 MB of memory can be had here") != std::string::npos);
  CHECK(std::count(large.error.begin(), large.error.end(), '\n') == 1);
  std::string tokens = "1";
  for (int i = 0; i < 96; ++i) tokens += ",2";
  const Outcome longer = run("logits tiny.gguf --tokens " + tokens + " --out o.f32");
  CHECK(longer.code == 2);
  CHECK(longer.error.find("97 tokens; the model's context has room for 96") != std::string::npos);
}

TEST_CASE("a context above the model's is a warning where a person asked for it, and an error where it would falsify the number", "[cli]") {
  const std::string tiny = (folder() / "tiny.gguf").string(), text = (folder() / "long.txt").string();
  std::string words;
  for (int i = 0; i < 400; ++i) words += "the river runs past the old mill ";
  write("long.txt", words);
  const Outcome timed = run("bench " + tiny + " -p 100 -n 1 -r 1 -t 1 --json");
  CHECK(timed.code == 0);
  CHECK(timed.error == "warning: 101 tokens, but random was made for 96: what is timed is the arithmetic\n");
  const Outcome suite = run("bench " + tiny + " --suite --items 2 --header-tokens 200 -p 8 -n 4 -r 1");
  CHECK(suite.code == 2);
  CHECK(suite.error.find("quantfleet: --header-tokens 200: gives items of ") == 0);
  CHECK(suite.error.find("has a context of 96\n") != std::string::npos);
  CHECK(run("bench " + tiny + " --suite --items 2 --header-tokens 20 -p 64 -n 64 -r 1").error.find("-p 64 -n 64: 128 tokens") != std::string::npos);
  const std::string imatrix = "imatrix " + tiny + " --text " + text + " --json --out w.dat";
  const Outcome fitted = run(imatrix), wider = run(imatrix + " --context 128");
  REQUIRE(fitted.code == 0);
  CHECK(nlohmann::json::parse(fitted.out)["context"] == 96);
  REQUIRE(wider.code == 0);
  CHECK(nlohmann::json::parse(wider.out)["context"] == 128);
  CHECK(wider.error.find("warning: windows of 128 tokens, but " + tiny + " was made for 96") != std::string::npos);
}

TEST_CASE("perplexity's reference keeps its keys and values in F32, and needs the same tokens", "[cli]") {
  const std::string tiny = (folder() / "tiny.gguf").string(), text = (folder() / "compared.txt").string();
  write("compared.txt", std::string(600, 'a') + "the river runs past the old mill, and boats wait.");
  const Outcome rounded = run("perplexity " + tiny + " --text " + text + " --context 64 --kv q4_0 --json --reference " + tiny);
  REQUIRE(rounded.code == 0);
  CHECK(nlohmann::json::parse(rounded.out)["mean_kl_divergence"] > 0);
  const std::string other = (test::source_dir() / "models/reference/reference.gguf").string();
  const Outcome refused = run("perplexity " + tiny + " --text " + text + " --context 64 --reference " + other);
  CHECK(refused.code == 2);
  CHECK(refused.error.find("quantfleet: --reference " + other + ": its tokenizer differs from that of " + tiny) == 0);
  CHECK(std::count(refused.error.begin(), refused.error.end(), '\n') == 1);
}

TEST_CASE("generate gives the same text every time", "[cli]") {
  const std::string command = "generate tiny.gguf --prompt 'Once upon' -n 12 --temperature 0.7 --seed 3";
  const Outcome first = run(command), second = run(command + " -t 2 --kernels scalar");
  REQUIRE(first.code == 0);
  CHECK(first.out == second.out);
  CHECK(first.out.size() > 1);
  const auto json = nlohmann::json::parse(run(command + " --json").out);
  check_schema("generate", json);
  CHECK(json["generated_tokens"] == 12);
}

TEST_CASE("imatrix writes what quantize reads, and says what it was made of", "[cli][imatrix]") {
  std::string words;  // no two windows alike
  for (int i = 0; i < 300; ++i) words += std::to_string(i * i) + " the ";
  write("calibration.txt", words);
  const std::string command = "imatrix tiny.gguf --text calibration.txt --context 64";
  const Outcome made = run(command + " --chunks 5 --seed 3 --json --out a.dat");
  CAPTURE(made.error);
  REQUIRE(made.code == 0);
  const auto json = nlohmann::json::parse(made.out);
  check_schema("imatrix", json);
  CHECK(json["entries"] == 14);
  CHECK(json["windows"] == 5);
  CHECK(json["windows_in_text"] == 35);
  REQUIRE(run(command + " --chunks 5 --seed 3 -t 1 --kernels scalar --out b.dat").code == 0);
  CHECK((contents(folder() / "a.dat") == contents(folder() / "b.dat")));
  REQUIRE(run(command + " --chunks 5 --seed 4 --out b.dat").code == 0);
  CHECK((contents(folder() / "a.dat") != contents(folder() / "b.dat")));
  CHECK(run("quantize tiny.gguf weighted.gguf --format IQ2_XS --imatrix a.dat").code == 0);
  const Outcome short_text = run("imatrix tiny.gguf --text calibration.txt --context 4096 --out c.dat");
  CHECK(short_text.code == 2);
  CHECK(short_text.error.find("one window of 4096 is the least") != std::string::npos);
  CHECK(!fs::exists(folder() / "c.dat"));
}

TEST_CASE("quantize with a calibration text writes folders and mixes, and says what it was made of", "[cli][calibration]") {
  write("calibration.txt", std::string(500, 'x') + " the text " + std::string(300, 'y'));
  REQUIRE(std::system((kBin + "make_random_model " + (folder() / "small.gguf").string() + " --format F16 --width 128 --layers 1 --feed-forward 128 --heads 4 --kv-heads 2 --vocabulary 300 --context 96").c_str()) == 0);
  const std::string in = "quantize small.gguf ", text = " --text calibration.txt --context 64 --json";
  struct Case {
    std::string format, more, read_as;
  };
  for (const auto& [format, more, read_as] : {Case{"GPTQ-4bit-g64", "", "GPTQ"}, Case{"AWQ-4bit-g128", "", "AWQ-"}, Case{"w8a8-static", " --smoothquant 0.5", "CT-w8"}, Case{"exl2", " --bpw 4.5", "EXL2-4.50bpw"},
                                              Case{"SparseGPT-4bit-g64", "", "sparse-2:4-4bit"}}) {
    const Outcome made = run(in + (folder() / format).string() + " --format " + format + more + text);
    CAPTURE(made.error);
    REQUIRE(made.code == 0);
    const auto json = nlohmann::json::parse(made.out);
    check_schema("quantize", json);
    CHECK(json["format"] == format);
    CHECK(json["calibration"]["windows"] == 12);
    const Outcome seen = run("inspect " + (folder() / format).string() + " --json");
    REQUIRE(seen.code == 0);
    const auto inspected = nlohmann::json::parse(seen.out);
    check_schema("inspect", inspected);
    CHECK(inspected["made_by"]["calibration_sha256"] == json["calibration"]["text_sha256"]);
    CHECK(run("inspect " + (folder() / format).string()).out.find("calibration_text calibration.txt") != std::string::npos);
    const Outcome read = run("perplexity " + (folder() / format).string() + " --text calibration.txt --context 64 --json");
    REQUIRE(read.code == 0);
    CHECK(nlohmann::json::parse(read.out)["format"].get<std::string>().starts_with(read_as));
  }
  const Outcome mixed = run(in + (folder() / "mixed.gguf").string() + " --budget-bpw 5 --candidates Q4_0,Q5_0,Q8_0" + text);
  CAPTURE(mixed.error);
  REQUIRE(mixed.code == 0);
  const auto json = nlohmann::json::parse(mixed.out);
  check_schema("quantize", json);
  CHECK(json["bits_per_weight"].get<double>() <= 5);
  CHECK(json["budget"]["predicted_divergence"].get<double>() > 0);

  for (const auto& [arguments, sentence] : {std::pair(std::string("--format GPTQ-4bit-g64"), "needs a calibration text (--text FILE)"),
                                            std::pair(std::string("--budget-bpw 4"), "needs a calibration text (--text FILE)"),
                                            std::pair(std::string("--format Q4_0 --budget-bpw 4"), "one of --format, --budget-bpw and --budget-size is needed"),
                                            std::pair("--format AWQ-4bit-g128 --mse" + text, "--mse is for GPTQ"),
                                            std::pair("--format GPTQ-4bit --smoothquant 0.5" + text, "--smoothquant is for w8a8-static"),
                                            std::pair("--format exl2" + text, "--format exl2 needs the bits per weight"),
                                            std::pair("--format GPTQ-5bit" + text, "no format is called GPTQ-5bit"),
                                            std::pair("--format GPTQ-4bit-g96" + text, "128 inputs do not divide into groups of 96")}) {
    const Outcome refused = run(in + (folder() / "refused").string() + " " + arguments);
    CAPTURE(refused.error);
    CHECK(refused.code == 2);
    CHECK(refused.error.find(sentence) != std::string::npos);
    CHECK(!fs::exists(folder() / "refused"));
  }
}

TEST_CASE("convert --rotate writes the model turned, which answers as before", "[cli][rotation]") {
  write("turned.txt", std::string(40, 'a') + " the river and the mill; 12 boats wait (there) " + std::string(50, 'q'));
  const std::string tiny = (folder() / "tiny.gguf").string(), turned = (folder() / "turned.gguf").string(), other = (folder() / "other.gguf").string();
  REQUIRE(run("convert " + tiny + " " + other + " --format f32").code == 0);
  const Outcome made = run("convert " + tiny + " " + turned + " --format f32 --rotate hadamard --rotate-seed 5 --json");
  CAPTURE(made.error);
  REQUIRE(made.code == 0);
  CHECK(nlohmann::json::parse(made.out)["tensors"].size() == 2 * 9 + 3);
  CHECK(contents(turned) != contents(other));
  CHECK(run("inspect " + turned).out.find("hadamard, seed 5") != std::string::npos);
  const Outcome compared = run("perplexity " + turned + " --reference " + tiny + " --text turned.txt --context 64 --json");
  CAPTURE(compared.error);
  REQUIRE(compared.code == 0);
  const auto json = nlohmann::json::parse(compared.out);
  CHECK(json["mean_kl_divergence"].get<double>() < 1e-9);
  CHECK(json["top1_agreement"] == 1);
  CHECK(run("convert " + tiny + " " + other + " --format f32 --rotate fourier").code == 2);
}

TEST_CASE("formats measures one model in the formats asked for, and says which it cannot be stored in", "[cli]") {
  write("calibration.txt", std::string(40, 'a') + " the river and the mill; 12 boats wait (there) " + std::string(150, 'q'));
  write("measured.txt", std::string(100, 'z') + " 12 boats wait (there), and the river; the mill " + std::string(160, 'b'));
  const std::string whole = "formats tiny.gguf --context 64 -p 16 -n 4 -r 1 ", command = whole + "--text measured.txt ";
  const Outcome made = run(command + "--formats F32,Q8_0,Q2_K,IQ2_XS,bnb-nf4,GPTQ-4bit-g32 --calibration calibration.txt --json");
  CAPTURE(made.error);
  REQUIRE(made.code == 0);
  const auto json = nlohmann::json::parse(made.out);
  check_schema("formats", json);
  REQUIRE(json["formats"].size() == 6);
  const auto& formats = json["formats"];
  CHECK(formats[0]["mean_kl_divergence"].get<double>() < 1e-9);
  CHECK(formats[1]["rmse"] > 0);
  CHECK(formats[2]["rmse"] > 10 * formats[1]["rmse"].get<double>());
  CHECK(formats[2]["mean_kl_divergence"] > formats[1]["mean_kl_divergence"]);
  CHECK(formats[3]["refusal"].get<std::string>().find("importance") != std::string::npos);
  for (const std::size_t folder_format : {4, 5}) {
    CHECK(formats[folder_format]["rmse"] > formats[1]["rmse"].get<double>());
    CHECK(formats[folder_format]["rmse"] < formats[2]["rmse"].get<double>());
    CHECK(formats[folder_format]["mean_kl_divergence"] > formats[1]["mean_kl_divergence"].get<double>());
  }
  // Without --text the built-in suite `text`, here one of a single short item.
  fs::create_directories(folder().path / "suites/text");
  fs::copy_file(test::source_dir() / "suites/tasks/text/task.yaml", folder().path / "suites/text/task.yaml", fs::copy_options::overwrite_existing);
  write("suites/text/items.jsonl", "{\"id\": \"text-00\", \"text\": \"" + contents(folder() / "measured.txt") + "\"}\n");
  const Outcome suite = run(whole + "--formats Q8_0 --markdown", "QUANTFLEET_SUITES=suites");
  CAPTURE(suite.error);
  CHECK(suite.out.starts_with("| format | act."));
  CHECK(suite.out.find(fmt::format("| {:.5f} |", formats[1]["mean_kl_divergence"].get<double>())) != std::string::npos);
  const Outcome unknown = run(command + "--formats Q9_Z");
  CHECK(unknown.code == 2);
  CHECK(unknown.error.find("Q9_Z") != std::string::npos);
  const Outcome without_text = run(command + "--formats AWQ-4bit");
  CHECK(without_text.code == 2);
  CHECK(without_text.error.find("--calibration FILE") != std::string::npos);
}

TEST_CASE("tokenize answers line by line", "[cli]") {
  write("texts.jsonl", "{\"text\": \"the\"}\n{\"bytes_b64\": \"dGhl\"}\n{\"text\": \"<|endoftext|>\"}\n");
  const std::string command = "tokenize tiny.gguf --jsonl ";
  const Outcome plain = run(command + (folder() / "texts.jsonl").string());
  REQUIRE(plain.code == 0);
  CHECK(plain.out.starts_with("{\"ids\":[257]}\n{\"ids\":[257]}\n{\"ids\":[60,"));
  CHECK(run(command + (folder() / "texts.jsonl").string() + " --parse-special").out.ends_with("{\"ids\":[399]}\n"));
  write("broken.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"a\"}\n");
  const Outcome broken = run(command + (folder() / "broken.jsonl").string());
  CHECK(broken.code == 2);
  CHECK(broken.error.find("line 2") != std::string::npos);
}

TEST_CASE("the self-test passes on the machine that recorded it and names what differs", "[cli]") {
  const std::string command = "selftest --model tiny.gguf --expected expected.json";
  REQUIRE(run(command + " --write").code == 0);
  const Outcome good = run(command + " --kernels scalar -t 1 --json");
  CHECK(good.code == 0);
  check_schema("selftest", nlohmann::json::parse(good.out));
  CHECK(nlohmann::json::parse(good.out)["passed"] == true);
  auto expected = nlohmann::json::parse(contents(folder() / "expected.json"));
  CHECK(expected["digests"].size() == 24);
  expected["digests"]["Q4_K/int8/decode5"] = std::string(32, '0');
  write("expected.json", expected.dump());
  const Outcome bad = run(command);
  CHECK(bad.code == 1);
  CHECK(bad.error.find("Q4_K/int8/decode5") != std::string::npos);
  CHECK(bad.error.find("kernels") != std::string::npos);
  write("expected.json", "[]");
  CHECK(run(command).code == 2);
}

}  // namespace
}  // namespace quantfleet
