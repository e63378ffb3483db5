#include "suites/import.h"

#include "suites/template/template.h"
#include "suites/utf8.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kFileBytesMax = 512u << 20;  // unpacked
constexpr int kDepthMax = 64;

Result<std::string> unpacked(std::string_view bytes, std::string_view place) {
  if (!bytes.starts_with("\x1f\x8b")) return std::string(bytes);
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error{Code::kOutOfMemory, fmt::format("{}: unpacking cannot begin", place)};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  int state = Z_OK;
  while (state == Z_OK && text.size() <= kFileBytesMax) {
    char piece[65536];
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(piece, sizeof piece - stream.avail_out);
    if (state == Z_STREAM_END && stream.avail_in > 0) state = inflateReset(&stream);  // the next member
  }
  inflateEnd(&stream);
  if (text.size() > kFileBytesMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} bytes when unpacked", place, kFileBytesMax)};
  if (state != Z_STREAM_END) return Error{Code::kTruncated, fmt::format("{}: the compressed data are damaged or end early", place)};
  return text;
}

// Lines end with \n alone: other Unicode line breaks are part of the text.
Result<std::vector<ImportRecord>> read_json_lines(std::string_view text, std::string_view place) {
  std::vector<ImportRecord> records;
  int number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (line.size() > kItemBytesMax) return Error{Code::kTooLarge, fmt::format("{}:{}: {} bytes, at most {} are allowed", place, number, line.size(), kItemBytesMax)};
    ImportRecord record{{}, number};
    if (const std::string complaint = parse_json_line(line, record.fields); !complaint.empty())
      return Error{Code::kBadValue, fmt::format("{}:{}: {}", place, number, complaint)};
    records.push_back(std::move(record));
    if (records.size() > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
  }
  return records;
}

Result<std::vector<ImportRecord>> read_json_document(std::string_view text, const std::string& key, std::string_view place) {
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kDepthMax;
    return !too_deep;
  };
  Json document;
  try {
    document = Json::parse(text, watch);
  } catch (const Json::parse_error& error) {
    return Error{Code::kBadValue, fmt::format("{}: not valid JSON at byte {}", place, error.byte)};
  } catch (const Json::exception&) {
    return Error{Code::kBadValue, fmt::format("{}: not valid JSON (a number is out of range)", place)};
  }
  if (too_deep) return Error{Code::kTooLarge, fmt::format("{}: nested deeper than {}", place, kDepthMax)};
  const Json* list = &document;
  if (!key.empty()) {
    if (!document.is_object() || !document.contains(key)) return Error{Code::kBadValue, fmt::format("{}: no key '{}'", place, key)};
    list = &document[key];
  }
  if (!list->is_array()) return Error{Code::kBadValue, fmt::format("{}: {}, a list of records was expected", place, list->type_name())};
  std::vector<ImportRecord> records;
  for (const Json& one : *list) {
    const int number = static_cast<int>(records.size()) + 1;
    if (!one.is_object()) return Error{Code::kBadValue, fmt::format("{}: record {} is a {}, an object was expected", place, number, one.type_name())};
    records.push_back({one, number});
    if (number > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
  }
  return records;
}

// RFC 4180: cells between commas, quoted where they hold commas, quotes or line breaks; rows end with \n or \r\n. Cells are
// texts as they stand, outer spaces included. Written here because errors must name the line a row begins in.
Result<std::vector<ImportRecord>> read_csv(std::string_view text, const std::vector<std::string>& given_columns, std::string_view place) {
  std::vector<std::string> columns = given_columns;
  std::vector<ImportRecord> records;
  int line = 1;
  for (std::size_t at = 0; at < text.size();) {
    const int first_line = line;
    std::vector<std::string> cells;
    for (bool row_ends = false; !row_ends;) {
      std::string cell;
      if (at < text.size() && text[at] == '"') {
        for (++at;; ++at) {
          if (at >= text.size()) return Error{Code::kTruncated, fmt::format("{}:{}: a quoted cell does not end", place, first_line)};
          if (text[at] == '"') {
            if (at + 1 >= text.size() || text[at + 1] != '"') break;
            ++at;
          }
          line += text[at] == '\n';
          cell += text[at];
        }
        ++at;
        if (at < text.size() && text[at] == '\r') ++at;
        if (at < text.size() && text[at] != ',' && text[at] != '\n')
          return Error{Code::kBadValue, fmt::format("{}:{}: text behind a quoted cell", place, first_line)};
      } else {
        while (at < text.size() && text[at] != ',' && text[at] != '\n') cell += text[at++];
        if (cell.ends_with('\r') && (at >= text.size() || text[at] == '\n')) cell.pop_back();
      }
      row_ends = at >= text.size() || text[at] == '\n';
      if (at < text.size()) {
        line += text[at] == '\n';
        ++at;
      }
      cells.push_back(std::move(cell));
      if (cells.size() > 1000) return Error{Code::kTooLarge, fmt::format("{}:{}: more than 1000 cells", place, first_line)};
    }
    if (cells.size() == 1 && cells[0].empty()) continue;  // an empty line
    if (columns.empty()) {
      columns = cells;
      for (std::size_t i = 0; i < columns.size(); ++i)
        if (columns[i].empty()) columns[i] = fmt::format("column{}", i);
      if (std::set<std::string>(columns.begin(), columns.end()).size() != columns.size())
        return Error{Code::kBadValue, fmt::format("{}:{}: the header has a column twice", place, first_line)};
      continue;
    }
    if (cells.size() != columns.size())
      return Error{Code::kBadValue, fmt::format("{}:{}: {} cells, {} were expected ({})", place, first_line, cells.size(), columns.size(), fmt::join(columns, ", "))};
    ImportRecord record{Json::object(), first_line};
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (find_invalid_utf8(cells[i]) != std::string_view::npos)
        return Error{Code::kBadValue, fmt::format("{}:{}: column {} is not valid UTF-8", place, first_line, columns[i])};
      record.fields[columns[i]] = std::move(cells[i]);
    }
    records.push_back(std::move(record));
    if (records.size() > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
  }
  return records;
}

// The files of one pattern, sorted by name.
Result<std::vector<fs::path>> find_files(const std::string& pattern, const fs::path& from) {
  std::error_code failure;
  if (fs::is_regular_file(from, failure)) return std::vector<fs::path>{from};
  if (!fs::is_directory(from, failure)) return Error{Code::kNotFound, fmt::format("{}: no such file or folder", from.string())};
  const fs::path place = from / pattern;
  const std::string name = place.filename().string();
  const std::size_t star = name.find('*');
  std::vector<fs::path> found;
  if (star == std::string::npos) {
    if (fs::is_regular_file(place, failure)) found.push_back(place);
  } else {
    const std::string before = name.substr(0, star), after = name.substr(star + 1);
    for (fs::directory_iterator entry(place.parent_path(), failure), end; !failure && entry != end; entry.increment(failure)) {
      const std::string one = entry->path().filename().string();
      if (one.size() >= before.size() + after.size() && one.starts_with(before) && one.ends_with(after) && entry->is_regular_file(failure))
        found.push_back(entry->path());
    }
    std::sort(found.begin(), found.end());
  }
  if (found.empty()) return Error{Code::kNotFound, fmt::format("{}: no such file", place.string())};
  return found;
}

std::string stem_of(const fs::path& file) {
  fs::path name = file.filename();
  if (name.extension() == ".gz") name = name.stem();
  return name.stem().string();
}

std::string as_id(std::string text) {
  for (char& c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("._:/-").find(c) != std::string_view::npos;
    if (!plain) c = '-';
  }
  return text.substr(0, 128);
}

}  // namespace

Result<std::vector<ImportRecord>> read_records(std::string_view bytes, const ImportSource& source, std::string_view place) {
  auto text = unpacked(bytes, place);
  if (!text) return text.error();
  std::string_view content = *text;
  if (content.starts_with("\xef\xbb\xbf")) content.remove_prefix(3);  // a byte order mark
  switch (source.format) {
    case ImportSource::Format::kJson: return read_json_document(content, source.records, place);
    case ImportSource::Format::kCsv: return read_csv(content, source.columns, place);
    case ImportSource::Format::kJsonl: return read_json_lines(content, place);
  }
  return std::vector<ImportRecord>();
}

Result<ImportedItems> import_items(const ImportSource& source, const fs::path& from, std::string_view place) {
  const auto compile = [&](const std::string& text, std::string_view key) { return Template::parse(text, fmt::format("{}, import {}", place, key)); };
  const auto id_template = compile(source.id, "id");
  if (!id_template) return id_template.error();
  std::optional<Template> when;
  if (!source.when.empty()) {
    auto parsed = compile("{{ 'yes' if (" + source.when + ") else '' }}", "when");
    if (!parsed) return parsed.error();
    when = std::move(*parsed);
  }
  std::vector<std::pair<std::string, Template>> fields;
  for (const auto& [name, expression] : source.fields) {
    auto parsed = compile("{{ (" + expression + ") | tojson }}", name);
    if (!parsed) return parsed.error();
    fields.emplace_back(name, std::move(*parsed));
  }

  ImportedItems imported;
  std::set<std::string> ids;
  int number = 0;
  for (const std::string& pattern : source.files) {
    const auto files = find_files(pattern, from);
    if (!files) return files.error();
    for (const fs::path& file : *files) {
      std::error_code failure;
      const auto size = fs::file_size(file, failure);
      if (!failure && size > kFileBytesMax) return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are allowed", file.string(), size, kFileBytesMax)};
      std::ifstream stream(file, std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
      if (failure || !stream.good()) return Error{Code::kIo, fmt::format("{}: cannot be read", file.string())};
      const auto records = read_records(bytes, source, file.string());
      if (!records) return records.error();
      imported.files.push_back(file);
      int index = 0;
      for (const ImportRecord& record : *records) {
        const auto in_record = [&](const Error& error) { return Error{error.code, fmt::format("{}:{}: {}", file.string(), record.line, error.detail)}; };
        Json variables = record.fields;
        variables["file"] = stem_of(file);
        variables["index"] = index++;
        variables["number"] = number++;
        if (when) {
          const auto stays = when->render(variables);
          if (!stays) return in_record(stays.error());
          if (stays->empty()) continue;
        }
        const auto id = id_template->render(variables);
        if (!id) return in_record(id.error());
        Json item = fields.empty() ? record.fields : Json::object();
        for (const auto& [name, expression] : fields) {
          const auto text = expression.render(variables);
          if (!text) return in_record(text.error());
          Json value = Json::parse(*text, nullptr, false);
          if (value.is_discarded()) return Error{Code::kBadValue, fmt::format("{}:{}: field '{}' is not JSON", file.string(), record.line, name)};
          item[name] = std::move(value);
        }
        item["id"] = as_id(*id);
        if (!ids.insert(item["id"].get<std::string>()).second)
          return Error{Code::kBadValue, fmt::format("{}:{}: the id '{}' was used before", file.string(), record.line, item["id"].get<std::string>())};
        imported.jsonl += item.dump() + "\n";
        ++imported.count;
        if (imported.jsonl.size() > kItemsBytesMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} bytes of items", file.string(), kItemsBytesMax)};
      }
    }
    if (fs::is_regular_file(from)) break;  // the one file stands for all patterns
  }
  if (imported.count == 0) return Error{Code::kBadValue, fmt::format("{}: no record became an item", from.string())};
  imported.sha256 = sha256_of_text(imported.jsonl);
  return imported;
}

}  // namespace quantfleet
