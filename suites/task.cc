#include "suites/task.h"

#include "suites/utf8.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

namespace quantfleet {
namespace {

constexpr std::array<std::string_view, 7> kAreas = {"reasoning", "coding", "math", "language", "knowledge", "safety", "text"};
constexpr std::array kKinds = {TaskKind::kLoglikelihood, TaskKind::kGenerate, TaskKind::kCode, TaskKind::kRolling};
constexpr int kJsonDepthMax = 64;

bool is_task_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 64 && plain(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return plain(c) || c == '_' || c == '-'; });
}

bool is_item_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:/-").find(c) != std::string_view::npos;
  });
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

ImportSource read_import_source(const YamlTree& tree, MapReader& parent, const std::string& place, const std::string& where) {
  MapReader reader(tree, place, where);
  ImportSource source;
  source.files = reader.texts("files");
  if (source.files.empty() || source.files.size() > 100) reader.fail(reader.line_of("files"), fmt::format("'{}files' must name 1 to 100 files", where));
  for (const std::string& file : source.files)
    if (file.empty() || file[0] == '/' || file.find("..") != std::string::npos || std::count(file.begin(), file.end(), '*') > 1)
      reader.fail(reader.line_of("files"), fmt::format("'{}files' has '{}': a path below --from with at most one * is expected", where, file));
  const std::string format = reader.text("format", "jsonl");
  if (format == "json") source.format = ImportSource::Format::kJson;
  else if (format == "csv") source.format = ImportSource::Format::kCsv;
  else if (format != "jsonl") reader.fail(reader.line_of("format"), fmt::format("'{}format' is '{}', allowed are jsonl, json and csv", where, format));
  source.records = reader.text("records", "");
  source.columns = reader.texts("columns");
  source.id = reader.text("id", "{{ file }}-{{ index }}");
  source.when = reader.text("when", "");
  if (const YamlTree* fields = reader.child("fields")) {
    MapReader names(*fields, place, where + "fields.");
    for (const YamlEntry& entry : fields->map) source.fields.emplace_back(entry.key, names.text(entry.key));
    if (const Status status = names.finish(); !status) reader.fail_with(status.error());
  }
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return source;
}

ImportSpec read_import(const YamlTree& tree, MapReader& parent, const std::string& place) {
  MapReader reader(tree, place, "import.");
  ImportSpec spec;
  if (const YamlTree* items = reader.child("items")) spec.items = read_import_source(*items, reader, place, "import.items.");
  else reader.fail(tree.line, "'import.items' is missing");
  if (const YamlTree* examples = reader.child("fewshot")) spec.few_shot = read_import_source(*examples, reader, place, "import.fewshot.");
  spec.count = static_cast<int>(reader.integer("count", 1, kItemsMax));
  spec.sha256 = reader.text("sha256", "");
  if (!spec.sha256.empty() && (spec.sha256.size() != 64 || spec.sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
    reader.fail(reader.line_of("sha256"), "'import.sha256' must have 64 of 0-9 a-f");
  if (spec.few_shot && parent.child("fewshot") == nullptr) reader.fail(reader.line_of("fewshot"), "'import.fewshot' needs the task's 'fewshot.items'");
  if (const Status status = reader.finish(); !status) parent.fail_with(status.error());
  return spec;
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
  if (choice && !reader.has("choices")) reader.fail(reader.line_of(""), "kind loglikelihood needs 'choices'");
  if (choice && reader.has("target") == reader.has("target_index"))
    reader.fail(reader.line_of("target"), "kind loglikelihood needs exactly one of 'target' and 'target_index'");
  if (text && !reader.has("tokens_max")) reader.fail(reader.line_of(""), fmt::format("kind {} needs 'tokens_max'", name_of(task.kind)));
  if (text && task.few_shot.count && !reader.has("target"))
    reader.fail(reader.line_of("fewshot"), "few-shot examples need 'target', the answer that they show");
}

std::string sha256_hex(const std::vector<std::string_view>& parts) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::array<unsigned char, 32> digest{};
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  for (std::string_view part : parts) EVP_DigestUpdate(context, part.data(), part.size());
  EVP_DigestFinal_ex(context, digest.data(), nullptr);
  EVP_MD_CTX_free(context);
  std::string hex;
  for (unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

std::string canonical_lines(std::string_view head, const std::vector<TaskItem>& items) {
  std::string text = fmt::format("{} {}\n", head, items.size());
  for (const TaskItem& item : items) text += item.fields.dump() + "\n";
  return text;
}

Result<std::vector<TaskItem>> read_items(const std::filesystem::path& path) {
  auto text = read_file(path, kItemsBytesMax);
  if (!text) return text.error();
  auto items = parse_items(*text, path.string());
  if (items && items->empty()) return Error{Code::kBadValue, fmt::format("{}:1: no items, at least one was expected", path.string())};
  return items;
}

}  // namespace

std::string parse_json_line(std::string_view line, nlohmann::json& json) {
  std::vector<std::set<std::string>> keys;
  std::string complaint;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (depth > kJsonDepthMax) {
      complaint = fmt::format("nested deeper than {}", kJsonDepthMax);
      return false;
    }
    if (event == nlohmann::json::parse_event_t::object_start) keys.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == nlohmann::json::parse_event_t::key && !keys.empty() && !keys.back().insert(value.get<std::string>()).second)
      complaint = fmt::format("key '{}' appears twice", value.get<std::string>());
    return true;
  };
  try {
    json = nlohmann::json::parse(line, watch);
    if (complaint.empty() && !json.is_object()) complaint = fmt::format("a JSON {}, an object was expected", json.type_name());
    return complaint;
  } catch (const nlohmann::json::parse_error& error) {
    return fmt::format("not valid JSON at byte {}, one object per line was expected", error.byte);
  } catch (const nlohmann::json::exception&) {
    return "not valid JSON (a number is out of range), one object per line was expected";
  }
}

std::string sha256_of_text(std::string_view text) { return sha256_hex({text}); }

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
  if (const YamlTree* reference = reader.child("reference")) {
    MapReader inner(*reference, place, "reference.");
    task.reference_accuracy = inner.number("accuracy", 0, 1);
    task.reference_of = inner.text("of");
    if (const Status status = inner.finish(); !status) reader.fail_with(status.error());
  }
  task.items_file = reader.text("items", "items.jsonl");
  if (!is_plain_file_name(task.items_file))
    reader.fail(reader.line_of("items"), fmt::format("'items' must be the name of a file beside task.yaml, found '{}'", task.items_file));
  if (const YamlTree* import = reader.child("import")) task.import = read_import(*import, reader, place);
  const std::int64_t seed = 1234;
  task.seed = static_cast<std::uint64_t>(reader.integer("seed", 0, INT64_MAX, &seed));
  task.preamble = reader.text("preamble", "");
  task.prompt = reader.text("prompt");
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
  if (const YamlTree* scorers = reader.child("scorers")) task.scorers = read_scorers(*scorers, reader);
  else reader.fail(tree->line, "key 'scorers' is missing");
  if (const YamlTree* chance = reader.child("chance");
      chance && !(chance->kind == YamlTree::Kind::kScalar && chance->scalar == "computed"))
    task.chance = reader.number("chance", 0, 1);
  check_kind(task, reader);
  if (const Status status = reader.finish(); !status) return status.error();
  task.canonical = tree->to_json().dump();
  task.sha256 = sha256_hex({task.canonical});
  return task;
}

Result<std::vector<TaskItem>> parse_items(std::string_view jsonl, std::string_view place) {
  std::vector<TaskItem> items;
  std::set<std::string> ids;
  int number = 0;
  for (std::size_t at = 0; at < jsonl.size();) {
    ++number;
    const std::size_t end = std::min(jsonl.find('\n', at), jsonl.size());
    std::string_view line = jsonl.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto bad = [&](std::string_view what, Code code = Code::kBadValue) {
      return Error{code, fmt::format("{}:{}: {}", place, number, what)};
    };
    if (line.size() > kItemBytesMax) return bad(fmt::format("{} bytes, at most {} are allowed", line.size(), kItemBytesMax), Code::kTooLarge);
    if (line.empty()) return bad("an empty line, one JSON object was expected");
    if (number > kItemsMax) return bad(fmt::format("more than {} items", kItemsMax), Code::kTooLarge);
    nlohmann::json json;
    if (const std::string complaint = parse_json_line(line, json); !complaint.empty()) return bad(complaint);
    const auto id = json.find("id");
    if (id == json.end() || !id->is_string()) return bad("no 'id', a string was expected");
    TaskItem item{id->get<std::string>(), std::move(json), number};
    if (!is_item_id(item.id)) return bad("'id' must have 1 to 128 of A-Z a-z 0-9 . _ : / -");
    if (!ids.insert(item.id).second) return bad(fmt::format("'id' {} was used before, each must be different", item.id));
    items.push_back(std::move(item));
  }
  return items;
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
  auto items = read_items(directory / task->items_file);
  if (!items) return items.error();
  task->items = std::move(*items);
  if (!task->few_shot.items_file.empty()) {
    auto examples = read_items(directory / task->few_shot.items_file);
    if (!examples) return examples.error();
    task->few_shot_items = std::move(*examples);
  }
  const std::size_t pool = task->few_shot.items_file.empty() ? task->items.size() - 1 : task->few_shot_items.size();
  if (static_cast<std::size_t>(task->few_shot.count) > pool)
    return Error{Code::kBadValue, fmt::format("{}: 'fewshot.count' is {}, but there are only {} examples", file.string(), task->few_shot.count, pool)};
  const std::string lines = canonical_lines("items", task->items), examples = canonical_lines("fewshot", task->few_shot_items);
  task->sha256 = sha256_hex({task->canonical, "\n", lines, examples});
  return task;
}

}  // namespace quantfleet
