// quantfleet formats: one model in every weight format, measured on this machine: bits per weight, error of the weights,
// divergence of the answers, speed of quantizing and of running. Makes the table of docs/formats/README.md.
#include "backends/calibration/quantize_checkpoint.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_checkpoint.h"
#include "backends/quantizers/quantize_model.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/model_options.h"
#include "cli/suites_root.h"
#include "contract/error.h"
#include "contract/version.h"
#include "reports/tables/text_table.h"
#include "suites/suite.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace quantfleet::cli {
namespace {

struct Options {
  ModelOptions model;
  std::filesystem::path text, importance_matrix, calibration;
  std::vector<std::string> formats;
  int context = 128, prompt = 128, generated = 32, repetitions = 3;
  bool json = false, markdown = false;
};

// A folder of our own that goes away with everything in it.
struct Workspace {
  std::filesystem::path path;
  Workspace() {
    std::string folder = (std::filesystem::temp_directory_path() / "quantfleet-formats-XXXXXX").string();
    if (!::mkdtemp(folder.data())) throw BadResult({Code::kPermission, fmt::format("{}: cannot be made", folder)});
    path = folder;
  }
  ~Workspace() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

struct Measured {
  std::string format, activations, refusal;  // refusal: why this model cannot be stored so; the rest is then 0
  double bits_per_weight = 0;
  double rmse = 0;                            // over all weights that are not kept in F32
  double kl_divergence = 0, top1_agreement = 0, perplexity = 0;
  double quantize_bytes_per_s = 0;            // of input
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
};

// Over the weights whose format is not that of a plain float. Tensor: QuantizedTensor or CalibratedTensor.
template <class Tensor, class Name>
double pooled_rmse(std::span<const Tensor> tensors, const Name& name_of, bool folder) {
  double squares = 0, values = 0;
  for (const Tensor& tensor : tensors) {
    const std::string_view name = name_of(tensor);
    if (name == "F32" || (folder && (name == "F16" || name == "BF16"))) continue;
    squares += tensor.rmse * tensor.rmse * static_cast<double>(tensor.count_values);
    values += static_cast<double>(tensor.count_values);
  }
  return values > 0 ? std::sqrt(squares / values) : 0;
}

double median(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return samples.size() % 2 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

struct Rolled {
  double tokens = 0, nll = 0, kl = 0, agreements = 0;
};

Rolled roll(NativeEngine& engine, std::span<const Request> texts) {
  Rolled sum;
  std::optional<Error> failed;
  engine.answer(texts, [&](std::size_t, Result<Response> response) {
    if (!response) {
      failed = response.error();
    } else {
      const auto& answer = std::get<RollingLoglikelihoodAnswer>(response->answer);
      sum.tokens += answer.count_tokens;
      sum.nll += answer.nll_sum;
      if (answer.divergence) sum.kl += answer.divergence->kl_sum;
      if (answer.divergence) sum.agreements += answer.divergence->top1_agreement_sum;
    }
    return !interrupted();
  });
  if (failed) throw BadResult(*failed);
  if (sum.tokens == 0) throw BadResult({Code::kBadValue, "the text is shorter than one window: no token is scored"});
  return sum;
}

// The file given, as one text; otherwise the texts of the built-in suite `text`.
std::vector<Request> texts_of(const Options& options) {
  if (!options.text.empty()) return {RollingLoglikelihood{read_text_file(options.text), options.context}};
  const auto suite = find_suite(default_suites_root(), "text");
  if (!suite) throw BadResult(suite.error());
  std::vector<Request> texts;
  for (int i = 0; i < (*suite)->size(); ++i) {
    auto request = (*suite)->request(i, "");
    if (!request) throw BadResult(request.error());
    std::get<RollingLoglikelihood>(*request).context_tokens = options.context;
    texts.push_back(std::move(*request));
  }
  return texts;
}

void run_model(const Options& options, EngineOptions engine_of, std::span<const Request> texts, Measured& measured) {
  auto engine = open_model(engine_of);
  measured.activations = engine->info().activations;
  const Rolled sum = roll(*engine, texts);
  measured.perplexity = std::exp(sum.nll / sum.tokens);
  measured.kl_divergence = sum.kl / sum.tokens;
  measured.top1_agreement = sum.agreements / sum.tokens;
  std::vector<double> prefill, decode;
  for (int repetition = -1; repetition < options.repetitions; ++repetition) {  // the first one warms up
    const auto sample = engine->time(options.prompt, options.generated, 1);
    if (!sample) throw BadResult(sample.error());
    if (repetition < 0) continue;
    prefill.push_back(sample->prompt_tokens / sample->prefill_seconds);
    decode.push_back(sample->generated_tokens / sample->decode_seconds);
  }
  measured.prefill_tokens_per_s = median(prefill);
  measured.decode_tokens_per_s = median(decode);
}

bool is_folder_format(const std::string& format) {
  return std::ranges::any_of(all_linear_quantizers(), [&](const LinearQuantizer& one) { return format == one.name; });
}

bool is_gguf_format(const std::string& format) {
  return std::ranges::find(quantize_format_names(), format) != quantize_format_names().end();
}

// What is common to the reports of the quantizers; names differ.
template <class Report, class Name>
void take(const Report& report, const Name& name_of, bool folder, Measured& measured) {
  measured.bits_per_weight = report.bits_per_weight;
  measured.rmse = pooled_rmse(std::span(report.tensors), name_of, folder);
  measured.quantize_bytes_per_s = static_cast<double>(report.input_bytes) / report.seconds;
}

// Writes the model in the format; the error says why it cannot be stored so.
std::optional<Error> store(const Options& options, const std::string& format, const std::filesystem::path& stored, Measured& measured) {
  const auto going_on = [](std::uint64_t, std::uint64_t) { return !interrupted(); };
  const auto name_of_tensor = [](const QuantizedTensor& tensor) { return std::string_view(tensor.format_name()); };
  if (is_gguf_format(format) || is_folder_format(format)) {
    QuantizeOptions settings;
    settings.format = format;
    if (is_gguf_format(format)) settings.importance_matrix = options.importance_matrix;
    settings.threads = options.model.threads;
    settings.program_version = std::string(program_version());
    settings.progress = going_on;
    const auto report = is_gguf_format(format) ? quantize_model(options.model.model, stored, settings) : quantize_checkpoint(options.model.model, stored, settings);
    if (!report) return report.error();
    take(*report, name_of_tensor, is_folder_format(format), measured);
    return std::nullopt;
  }
  CalibratedOptions settings;
  const auto parsed = parse_calibrated_format(format);
  if (!parsed) return parsed.error();
  settings.format = *parsed;
  settings.text.path = options.calibration;
  settings.text.context_tokens = options.context;
  settings.threads = options.model.threads;
  settings.kernels = options.model.kernels;
  settings.program_version = std::string(program_version());
  settings.progress = going_on;
  const auto report = quantize_checkpoint(options.model.model, stored, settings);
  if (!report) return report.error();
  take(*report, [](const CalibratedTensor& tensor) { return std::string_view(tensor.format); }, true, measured);
  return std::nullopt;
}

Measured measure(const Options& options, const std::string& format, const std::filesystem::path& folder, const EngineOptions& engine_of,
                 std::span<const Request> texts) {
  Measured measured;
  measured.format = format;
  const std::filesystem::path stored = folder / (is_gguf_format(format) ? format + ".gguf" : format);
  if (const auto error = store(options, format, stored, measured)) {
    if (error->code == Code::kInterrupted) throw BadResult(*error);
    measured.refusal = error->detail;
    return measured;
  }
  EngineOptions engine = engine_of;
  engine.model = stored;
  run_model(options, engine, texts, measured);
  std::filesystem::remove_all(stored);
  return measured;
}

// Every format that needs no calibration text, and with one the usual shapes of those that do.
std::vector<std::string> all_formats(bool calibrated) {
  std::vector<std::string> formats(quantize_format_names().begin(), quantize_format_names().end());
  for (const LinearQuantizer& one : all_linear_quantizers()) formats.emplace_back(one.name);
  if (calibrated) formats.insert(formats.end(), {"GPTQ-4bit-g128", "GPTQ-3bit-g128", "AWQ-4bit-g128", "SparseGPT-4bit-g128", "exl2", "w8a8-static"});
  return formats;
}

// Refuses what no quantizer knows, and what needs a calibration text where there is none.
void check_formats(const Options& options) {
  for (const std::string& name : options.formats) {
    if (is_gguf_format(name) || is_folder_format(name)) continue;
    if (!parse_calibrated_format(name))
      throw BadResult({Code::kUnknownFormat, fmt::format("--formats {}: known are {} and those with a calibration text, such as GPTQ-4bit-g128", name, fmt::join(all_formats(false), ", "))});
    if (options.calibration.empty()) throw BadResult({Code::kUsage, fmt::format("--formats {} needs a calibration text (--calibration FILE)", name)});
  }
}

nlohmann::ordered_json to_json(const Measured& m) {
  if (!m.refusal.empty()) return {{"format", m.format}, {"refusal", m.refusal}};
  return {{"format", m.format},
          {"activations", m.activations},
          {"bits_per_weight", m.bits_per_weight},
          {"rmse", m.rmse},
          {"mean_kl_divergence", m.kl_divergence},
          {"top1_agreement", m.top1_agreement},
          {"perplexity", m.perplexity},
          {"quantize_bytes_per_s", m.quantize_bytes_per_s},
          {"prefill_tokens_per_s", m.prefill_tokens_per_s},
          {"decode_tokens_per_s", m.decode_tokens_per_s}};
}

std::vector<std::string> cells(const Measured& m) {
  return {m.format,
          m.activations,
          fmt::format("{:.3f}", m.bits_per_weight),
          fmt::format("{:.3g}", m.rmse),
          fmt::format("{:.5f}", m.kl_divergence),
          fmt::format("{:.1f}", 100 * m.top1_agreement),
          fmt::format("{:.3f}", m.quantize_bytes_per_s / 1e9),
          fmt::format("{:.0f}", m.prefill_tokens_per_s),
          fmt::format("{:.0f}", m.decode_tokens_per_s)};
}

const std::vector<std::string> kTitles = {"format",       "act.",          "bits/weight",  "RMSE",      "KL div.",
                                          "top-1 same %", "quantize GB/s", "prefill t/s", "decode t/s"};

// Formats that the model cannot be stored in, below the table.
std::string refusals(std::span<const Measured> rows) {
  std::string text;
  for (const Measured& row : rows)
    if (!row.refusal.empty()) text += fmt::format("{}: {}\n", row.format, row.refusal);
  return text.empty() ? text : "\nNot measured:\n" + text;
}

std::string as_text(std::span<const Measured> rows) {
  std::vector<reports::Column> columns;
  for (std::size_t i = 0; i < kTitles.size(); ++i) columns.push_back({kTitles[i], i > 1});
  reports::TextTable table(columns);
  for (const Measured& row : rows)
    if (row.refusal.empty()) table.add(cells(row));
  return table.text() + refusals(rows);
}

std::string as_markdown(std::span<const Measured> rows) {
  std::string text = fmt::format("| {} |\n|---|---|{}\n", fmt::join(kTitles, " | "), "---:|---:|---:|---:|---:|---:|---:|");
  for (const Measured& row : rows)
    if (row.refusal.empty()) text += fmt::format("| {} |\n", fmt::join(cells(row), " | "));
  return text + refusals(rows);
}

int survey(const Options& options) {
  catch_interrupts();
  check_formats(options);
  const std::vector<Request> texts = texts_of(options);
  const Workspace workspace;
  EngineOptions engine_of = engine_options(options.model);
  engine_of.context_tokens = options.context;
  EngineOptions reference = engine_of;
  reference.activations = Activations::kF32;
  reference.reference_logits_out = workspace.path / "reference.logits";
  reference.whole_reference_rows = true;  // a file of this run alone, so divergences stay exact
  roll(*open_model(reference), texts);
  engine_of.reference_logits_in = reference.reference_logits_out;

  const std::vector<std::string> formats = options.formats.empty() ? all_formats(!options.calibration.empty()) : options.formats;
  std::vector<Measured> rows;
  {
    ShareProgress progress("formats");
    for (const std::string& format : formats) {
      rows.push_back(measure(options, format, workspace.path, engine_of, texts));
      progress.show(static_cast<double>(rows.size()) / static_cast<double>(formats.size()));
    }
  }
  if (options.json) {
    nlohmann::ordered_json document = {{"model", options.model.model.string()}, {"threads", options.model.threads},
                                       {"context", options.context}, {"formats", nlohmann::ordered_json::array()}};
    for (const Measured& row : rows) document["formats"].push_back(to_json(row));
    fmt::print("{}\n", document.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{}", options.markdown ? as_markdown(rows) : as_text(rows));
  }
  return 0;
}

}  // namespace

std::function<int()> add_formats(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_model_options(app, options->model);
  app.add_option("--text", options->text, "text that divergence from MODEL is measured on (default: the built-in suite `text`)");
  app.add_option("--formats", options->formats, "only these (default: all that `quantize` knows)")->delimiter(',');
  app.add_option("--imatrix", options->importance_matrix, "importance matrix for the formats that use one");
  app.add_option("--calibration", options->calibration, "text for the formats that are calibrated (GPTQ, AWQ, SparseGPT, EXL2 at 4 bits, static int8); without one they are left out");
  app.add_option("--context", options->context, "tokens of a window; the second half of each is scored")->check(CLI::Range(4, 1 << 20))->capture_default_str();
  app.add_option("-p,--prompt-tokens", options->prompt, "tokens of a timed prompt")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("-n,--generated-tokens", options->generated, "tokens decoded behind it")->check(CLI::Range(1, 1 << 20))->capture_default_str();
  app.add_option("-r,--repetitions", options->repetitions, "timed repetitions, of which the median is shown")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_flag("--json", options->json, "one JSON document on stdout (docs/schemas/formats.json)");
  app.add_flag("--markdown", options->markdown, "the table as Markdown");
  return [options] { return survey(*options); };
}

}  // namespace quantfleet::cli
