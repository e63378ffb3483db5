#include "suites/task.h"

#include "suites/utf8.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>

namespace quantfleet {
namespace {

constexpr std::array<std::string_view, 7> kAreas = {"reasoning", "coding", "math", "language", "knowledge", "safety", "text"};
constexpr std::array<std::string_view, 4> kSplits = {"train", "validation", "test", "all"};
constexpr std::array kKinds = {TaskKind::kLoglikelihood, TaskKind::kGenerate, TaskKind::kCode, TaskKind::kRolling};

bool is_task_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 64 && plain(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '_' || c == '-'; });
}

// A name beside task.yaml: it must not lead anywhere else.
bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name[0] != '.' && name.find_first_of("/\\") == std::string_view::npos;
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure))
    return Error{Code::kNotFound, fmt::format("{}: no such file", path.string())};
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (failure) return Error{Code::kIo, fmt::format("{}: {}", path.string(), failure.message())};
  if (size > bytes_max)
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are allowed", path.string(), size, bytes_max)};
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return Error{Code::kPermission, fmt::format("{}: cannot be opened for reading", path.string())};
  std::string text(static_cast<std::size_t>(size), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uintmax_t>(stream.gcount()) != size)
    return Error{Code::kIo, fmt::format("{}: read {} of {} bytes", path.string(), stream.gcount(), size)};
  return text;
}

FewShot read_few_shot(const YamlTree& tree, MapReader& parent, const std::string& place) {
  MapReader reader(tree, place, "fewshot.");
  FewShot few_shot;
  few_shot.count = static_cast<int>(reader.integer("count", 0, 64));
  few_shot.items_file = reader.text("items", "");
  if (!few_shot.items_file.empty() && !is_plain_file_name(few_shot.items_file))
    reader.fail(reader.line_of("items"), fmt::format("'fewshot.items' must be the name of a file beside task.yaml, found '{}'", few_shot.items_file));
  const std::string sampler = reader.text("sampler", "first");
  if (sampler == "random") few_shot.sampler = FewShot::Sampler::kRandom;
  else if (sampler != "first")
    reader.fail(reader.line_of("sampler"), fmt::format("'fewshot.sampler' is '{}', allowed are first and random", sampler));
  const std::int64_t seed = 1234;
  few_shot.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, &seed));
  few_shot.delimiter = reader.text("delimiter", "\n\n");
  few_shot.same = reader.text("same", "");
  if (!few_shot.same.empty() && (few_shot.items_file.empty() || few_shot.sampler != FewShot::Sampler::kFirst))
    reader.fail(reader.line_of("same"), "'fewshot.same' needs 'items' and the sampler first");
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return few_shot;
}

struct FormatName {
  std::string_view name;
  ImportSource::Format format;
};
constexpr FormatName kFormats[] = {{"jsonl", ImportSource::Format::kJsonl}, {"json", ImportSource::Format::kJson},   {"csv", ImportSource::Format::kCsv},
                                   {"tsv", ImportSource::Format::kTsv},     {"lines", ImportSource::Format::kLines}, {"text", ImportSource::Format::kText}};

ImportSource read_import_source(const YamlTree& tree, MapReader& parent, const std::string& place, const std::string& where, bool joined = false) {
  MapReader reader(tree, place, where);
  ImportSource source;
  source.files = reader.texts("files");
  if (source.files.empty() || source.files.size() > 100) reader.fail(reader.line_of("files"), fmt::format("'{}files' must name 1 to 100 files", where));
  for (const std::string& file : source.files)
    if (file.empty() || file[0] == '/' || file.find("..") != std::string::npos || std::count(file.begin(), file.end(), '*') > 1)
      reader.fail(reader.line_of("files"), fmt::format("'{}files' has '{}': a path below --from with at most one * is expected", where, file));
  const std::string format = reader.text("format", "jsonl");
  const auto known = std::find_if(std::begin(kFormats), std::end(kFormats), [&](const FormatName& one) { return one.name == format; });
  if (known == std::end(kFormats))
    reader.fail(reader.line_of("format"), fmt::format("'{}format' is '{}', allowed are jsonl, json, csv, tsv, lines and text", where, format));
  else
    source.format = known->format;
  source.records = reader.text("records", "");
  source.columns = reader.texts("columns");
  if (source.format == ImportSource::Format::kLines && source.columns.empty()) source.columns = {"text"};
  source.record_starts = reader.text("record_starts", "");
  if (!joined) {
    if (const YamlTree* join = reader.child("join")) {
      if (join->kind != YamlTree::Kind::kList || join->list.empty() || join->list.size() > 8) reader.fail(join->line, fmt::format("'{}join' must list 1 to 8 sources", where));
      else
        for (const YamlTree& one : join->list) source.join.push_back(read_import_source(one, reader, place, where + "join.", true));
    }
    source.id = reader.text("id", "{{ file }}-{{ index }}");
    source.when = reader.text("when", "");
    if (const YamlTree* fields = reader.child("fields")) {
      MapReader names(*fields, place, where + "fields.");
      for (const YamlEntry& entry : fields->map) source.fields.emplace_back(entry.key, names.text(entry.key));
      if (const Status status = names.finish(); !status) reader.fail_with(status.error());
    }
  }
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return source;
}

ImportSpec read_import(const YamlTree& tree, MapReader& parent, const std::string& place) {
  MapReader reader(tree, place, "import.");
  ImportSpec spec;
  if (const YamlTree* items = reader.child("items")) {
    if (items->kind == YamlTree::Kind::kList && !items->list.empty() && items->list.size() <= 8)
      for (const YamlTree& edition : items->list) spec.items.push_back(read_import_source(edition, reader, place, "import.items."));
    else
      spec.items.push_back(read_import_source(*items, reader, place, "import.items."));
  } else {
    reader.fail(tree.line, "'import.items' is missing");
  }
  if (const YamlTree* examples = reader.child("fewshot")) spec.few_shot = read_import_source(*examples, reader, place, "import.fewshot.");
  spec.count = static_cast<int>(reader.integer("count", 1, kItemsMax));
  spec.sha256 = reader.text("sha256", "");
  if (!spec.sha256.empty() && (spec.sha256.size() != 64 || spec.sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
    reader.fail(reader.line_of("sha256"), "'import.sha256' must have 64 of 0-9 a-f");
  if (spec.few_shot && parent.child("fewshot") == nullptr) reader.fail(reader.line_of("fewshot"), "'import.fewshot' needs the task's 'fewshot.items'");
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return spec;
}

Sampling read_sampling(const YamlTree& tree, MapReader& parent, const std::string& place) {
  MapReader reader(tree, place, "sampling.");
  Sampling sampling;
  sampling.count = static_cast<int>(reader.integer("count", 1, 1000));
  sampling.temperature = reader.number("temperature", 0, 100);
  if (reader.has("top_p")) sampling.top_p = reader.number("top_p", 0.001, 1);
  const std::int64_t seed = 1234;
  sampling.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, &seed));
  if (sampling.count > 1 && sampling.temperature == 0) reader.fail(tree.line, "'sampling.count' above 1 needs a temperature above 0: greedy answers are all the same");
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return sampling;
}

ChoiceOrder read_choice_order(const YamlTree& tree, MapReader& parent, const std::string& place) {
  MapReader reader(tree, place, "choice_order.");
  ChoiceOrder order;
  if (const YamlTree* options = reader.child("options")) {
    if (options->kind == YamlTree::Kind::kList) order.fields = reader.texts("options");
    else order.list = reader.text("options");
    if (order.fields.size() == 1) reader.fail(options->line, "'choice_order.options' must name at least two fields, or one that holds a list");
  } else {
    reader.fail(tree.line, "'choice_order.options' is missing");
  }
  order.answer = reader.text("answer");
  order.labels = reader.texts("labels");
  const std::int64_t none = 0;
  order.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, &none));
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return order;
}

std::vector<ScorerSpec> read_scorers(const YamlTree& tree, MapReader& parent) {
  std::vector<ScorerSpec> scorers;
  if (tree.kind != YamlTree::Kind::kList || tree.list.empty()) {
    parent.fail(tree.line, "'scorers' must be a list of at least one name or map");
    return scorers;
  }
  for (const YamlTree& entry : tree.list) {
    ScorerSpec spec;
    spec.line = entry.line;
    spec.options.kind = YamlTree::Kind::kMap;
    spec.options.line = entry.line;
    if (entry.kind == YamlTree::Kind::kScalar && entry.scalar.is_string()) {
      spec.name = entry.scalar.get<std::string>();
    } else if (entry.kind == YamlTree::Kind::kMap) {
      for (const auto& [key, value, line] : entry.map) {
        if (key != "name") spec.options.map.push_back({key, value, line});
        else if (value.kind == YamlTree::Kind::kScalar && value.scalar.is_string()) spec.name = value.scalar.get<std::string>();
      }
      if (spec.name.empty()) parent.fail(entry.line, "a scorer needs a 'name'");
    } else {
      parent.fail(entry.line, "a scorer must be a name or a map with a name");
    }
    scorers.push_back(std::move(spec));
  }
  return scorers;
}

// In file order. That the scorer gives these numbers is checked where the suite is made.
std::vector<Aggregation> read_aggregation(const YamlTree& tree, MapReader& parent, const std::string& place, bool has_accuracy) {
  MapReader reader(tree, place, "aggregation.");
  std::vector<Aggregation> all;
  for (const YamlEntry& entry : tree.map) {
    Aggregation& one = all.emplace_back(Aggregation{entry.key, reader.text(entry.key)});
    const auto fitting = functions_of(one.number);
    if (std::find(fitting.begin(), fitting.end(), one.function) == fitting.end())
      reader.fail(entry.line, fmt::format("'aggregation.{}' is '{}', allowed {} {}", one.number, one.function, fitting.size() == 1 ? "is" : "are", fmt::join(fitting, " and ")));
  }
  if (all.size() > kAggregationsMax) reader.fail(tree.line, fmt::format("'aggregation' has {} numbers, at most {} are allowed", all.size(), kAggregationsMax));
  if (has_accuracy && !reader.has("accuracy")) reader.fail(tree.line, "'aggregation' must have 'accuracy: mean', which verdicts rest on");
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return all;
}

// The rules between keys.
void check_kind(Task& task, MapReader& reader) {
  const auto only_for = [&](std::string_view key, bool fits, std::string_view kinds) {
    if (reader.has(key) && !fits)
      reader.fail(reader.line_of(key), fmt::format("'{}' belongs to kind {}, this task's kind is {}", key, kinds, name_of(task.kind)));
  };
  const bool choice = task.kind == TaskKind::kLoglikelihood;
  const bool text = task.kind == TaskKind::kGenerate || task.kind == TaskKind::kCode;
  only_for("choices", choice, "loglikelihood");
  only_for("target_index", choice, "loglikelihood");
  only_for("target", task.kind != TaskKind::kRolling, "loglikelihood, generate or code");
  only_for("stop", text, "generate or code");
  only_for("tokens_max", text, "generate or code");
  only_for("context_tokens", task.kind == TaskKind::kRolling, "rolling");
  only_for("chat", task.kind != TaskKind::kRolling, "loglikelihood, generate or code");
  only_for("preamble", task.kind != TaskKind::kRolling, "loglikelihood, generate or code");
  only_for("fewshot", task.kind != TaskKind::kRolling, "loglikelihood, generate or code");
  only_for("contexts", choice, "loglikelihood");
  only_for("windows", task.kind == TaskKind::kRolling, "rolling");
  only_for("sampling", text, "generate or code");
  only_for("choice_order", choice || task.kind == TaskKind::kGenerate, "loglikelihood or generate");
  if (choice && !reader.has("choices") && !reader.has("target")) reader.fail(reader.line_of(""), "kind loglikelihood needs 'choices', or a 'target' alone");
  if (reader.has("contexts") && (reader.has("prompt") || task.choices.size() != task.contexts.size()))
    reader.fail(reader.line_of("contexts"), "'contexts' stands instead of 'prompt' and needs as many 'choices'");
  if (choice && reader.has("target") == reader.has("target_index"))
    reader.fail(reader.line_of("target"), "kind loglikelihood needs exactly one of 'target' and 'target_index'");
  if (text && !reader.has("tokens_max")) reader.fail(reader.line_of(""), fmt::format("kind {} needs 'tokens_max'", name_of(task.kind)));
  if (text && task.few_shot.count && !reader.has("target"))
    reader.fail(reader.line_of("fewshot"), "few-shot examples need 'target', the answer that they show");
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Sha256() { EVP_MD_CTX_free(context_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view text) { EVP_DigestUpdate(context_, text.data(), text.size()); }
  std::string hex() {
    std::array<unsigned char, 32> digest{};
    EVP_DigestFinal_ex(context_, digest.data(), nullptr);
    std::string text;
    for (unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
  }

 private:
  EVP_MD_CTX* context_;
};

}  // namespace

std::string sha256_of_text(std::string_view text) {
  Sha256 hash;
  hash.add(text);
  return hash.hex();
}

std::string_view name_of(TaskKind kind) {
  switch (kind) {
    case TaskKind::kLoglikelihood: return "loglikelihood";
    case TaskKind::kGenerate: return "generate";
    case TaskKind::kCode: return "code";
    case TaskKind::kRolling: return "rolling";
  }
  return "";
}

Result<Task> parse_task_yaml(std::string_view yaml, std::string_view place_view) {
  const std::string place(place_view);
  if (yaml.size() > kTaskYamlBytesMax)
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are allowed", place, yaml.size(), kTaskYamlBytesMax)};
  auto tree = parse_yaml(yaml, place);
  if (!tree) return tree.error();

  Task task;
  task.place = place;
  MapReader reader(*tree, place);
  task.name = reader.text("name");
  if (!is_task_name(task.name))
    reader.fail(reader.line_of("name"), fmt::format("'name' is '{}', expected 1 to 64 of a-z 0-9 _ - beginning with a letter or digit", task.name));
  task.version = reader.text("version");
  if (task.version.empty() || task.version.size() > 32) reader.fail(reader.line_of("version"), "'version' must have 1 to 32 characters");
  task.area = reader.text("area");
  if (std::find(kAreas.begin(), kAreas.end(), task.area) == kAreas.end())
    reader.fail(reader.line_of("area"), fmt::format("'area' is '{}', allowed are {}", task.area, fmt::join(kAreas, ", ")));
  const std::string kind_word = reader.text("kind");
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(), [&](TaskKind known) { return name_of(known) == kind_word; });
  if (kind == kKinds.end())
    reader.fail(reader.line_of("kind"), fmt::format("'kind' is '{}', allowed are loglikelihood, generate, code, rolling", kind_word));
  else
    task.kind = *kind;
  task.description = reader.text("description");
  task.source = reader.text("source");
  task.licence = reader.text("licence");
  task.split = reader.text("split", "all");
  if (std::find(kSplits.begin(), kSplits.end(), task.split) == kSplits.end())
    reader.fail(reader.line_of("split"), fmt::format("'split' is '{}', allowed are {}", task.split, fmt::join(kSplits, ", ")));
  if (const YamlTree* reference = reader.child("reference")) {
    MapReader inner(*reference, place, "reference.");
    task.reference_accuracy = inner.number("accuracy", 0, 1);
    task.reference_of = inner.text("of");
    if (const Status status = inner.finish(); !status) reader.fail_with(status.error());
  }
  task.overlaps = reader.texts("overlaps");
  task.items_file = reader.text("items", "items.jsonl");
  if (!is_plain_file_name(task.items_file))
    reader.fail(reader.line_of("items"), fmt::format("'items' must be the name of a file beside task.yaml, found '{}'", task.items_file));
  if (const YamlTree* import = reader.child("import")) task.import = read_import(*import, reader, place);
  const std::int64_t seed = 1234;
  task.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, &seed));
  task.preamble = reader.text("preamble", "");
  task.contexts = reader.texts("contexts");
  task.prompt = reader.text("prompt", reader.has("contexts") ? "" : nullptr);
  task.group = reader.text("group", "");
  task.chat = reader.boolean("chat", false);
  if (const YamlTree* choices = reader.child("choices")) {
    if (choices->kind == YamlTree::Kind::kList) {
      task.choices = reader.texts("choices");
      if (task.choices.size() < 2 || task.choices.size() > 1000) reader.fail(choices->line, "'choices' must have 2 to 1000 templates");
    } else {
      task.choices_field = reader.text("choices");
      if (task.choices_field.empty()) reader.fail(choices->line, "'choices' must name an item's field or list templates");
    }
  }
  task.target = reader.text("target", "");
  task.target_index = reader.text("target_index", "");
  task.target_delimiter = reader.text("target_delimiter", task.kind == TaskKind::kCode ? "" : " ");
  if (const YamlTree* few_shot = reader.child("fewshot")) task.few_shot = read_few_shot(*few_shot, reader, place);
  task.stop = reader.texts("stop");
  if (task.stop.size() > 32 || std::any_of(task.stop.begin(), task.stop.end(), [](const auto& stop) { return stop.empty() || stop.size() > 256; }))
    reader.fail(reader.line_of("stop"), "'stop' may have up to 32 strings of 1 to 256 bytes");
  const std::int64_t none = 0, window = 512;
  task.tokens_max = static_cast<int>(reader.integer("tokens_max", 1, 4096, &none));
  task.context_tokens = static_cast<int>(reader.integer("context_tokens", 8, 1 << 20, &window));
  const std::string windows = reader.text("windows", "second_half");
  task.every_token = windows == "every_token";
  if (windows != "second_half" && windows != "every_token")
    reader.fail(reader.line_of("windows"), fmt::format("'windows' is '{}', allowed are second_half and every_token", windows));
  if (const YamlTree* sampling = reader.child("sampling")) task.sampling = read_sampling(*sampling, reader, place);
  if (const YamlTree* order = reader.child("choice_order")) task.choice_order = read_choice_order(*order, reader, place);
  if (const YamlTree* scorers = reader.child("scorers")) task.scorers = read_scorers(*scorers, reader);
  else reader.fail(tree->line, "key 'scorers' is missing");
  if (const YamlTree* aggregation = reader.child("aggregation")) {
    task.aggregation = read_aggregation(*aggregation, reader, place, task.kind != TaskKind::kRolling);
    task.aggregation_line = aggregation->line;
  }
  if (const YamlTree* chance = reader.child("chance");
      chance && !(chance->kind == YamlTree::Kind::kScalar && chance->scalar == "computed"))
    task.chance = reader.number("chance", 0, 1);
  check_kind(task, reader);
  if (const Status status = reader.finish(); !status) return status.error();
  nlohmann::json canonical = tree->to_json();
  for (const char* key : {"split", "aggregation"}) canonical.erase(key);
  task.canonical = canonical.dump();
  task.sha256 = sha256_of_text(task.canonical);
  return task;
}

Result<Task> load_task(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "task.yaml";
  auto yaml = read_file(file, kTaskYamlBytesMax);
  if (!yaml) return yaml.error();
  auto task = parse_task_yaml(*yaml, file.string());
  if (!task) return task;
  const std::filesystem::path folder = directory.filename().empty() ? directory.parent_path() : directory;
  if (folder.filename() != task->name)
    return Error{Code::kBadValue, fmt::format("{}: 'name' is '{}', expected the folder's name '{}'", file.string(), task->name, folder.filename().string())};
  std::error_code failure;
  if (task->import && !std::filesystem::exists(directory / task->items_file, failure))
    return Error{Code::kNotFound, fmt::format("{}: the items of {} are not here; `quantfleet suites import {} --from FOLDER` takes them from the authors' files ({})",
                                              directory.string(), task->name, task->name, task->source)};
  auto items = ItemFile::open(directory / task->items_file);
  if (!items) return items.error();
  task->items = std::move(*items);
  ItemFile examples;
  if (!task->few_shot.items_file.empty()) {
    auto opened = ItemFile::open(directory / task->few_shot.items_file);
    if (!opened) return opened.error();
    examples = std::move(*opened);
    for (std::size_t i = 0; i < examples.size(); ++i) task->few_shot_items.push_back(examples[i]);
  }
  const std::size_t pool = task->few_shot.items_file.empty() ? task->items.size() - 1 : task->few_shot_items.size();
  if (static_cast<std::size_t>(task->few_shot.count) > pool)
    return Error{Code::kBadValue, fmt::format("{}: 'fewshot.count' is {}, but there are only {} examples", file.string(), task->few_shot.count, pool)};
  Sha256 hash;
  const auto add = [&](std::string_view text) { hash.add(text); };
  add(task->canonical + "\n");
  task->items.canonical("items", add);
  examples.canonical("fewshot", add);
  task->sha256 = hash.hex();
  return task;
}

}  // namespace quantfleet
