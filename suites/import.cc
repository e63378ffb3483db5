#include "suites/import.h"

#include "suites/scorers/regular_expression.h"
#include "suites/template/template.h"
#include "suites/utf8.h"

#include <bzlib.h>
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

Error too_large(std::string_view place) { return {Code::kTooLarge, fmt::format("{}: more than {} bytes when unpacked", place, kFileBytesMax)}; }
Error damaged(std::string_view place) { return {Code::kTruncated, fmt::format("{}: the compressed data are damaged or end early", place)}; }

Result<std::string> unpacked_gzip(std::string_view bytes, std::string_view place) {
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
  if (text.size() > kFileBytesMax) return too_large(place);
  if (state != Z_STREAM_END) return damaged(place);
  return text;
}

Result<std::string> unpacked_bzip2(std::string_view bytes, std::string_view place) {
  std::string text;
  bz_stream stream{};
  stream.next_in = const_cast<char*>(bytes.data());
  stream.avail_in = static_cast<unsigned>(bytes.size());
  int state = BZ_STREAM_END;
  do {  // one stream behind the other
    if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK) return Error{Code::kOutOfMemory, fmt::format("{}: unpacking cannot begin", place)};
    do {
      char piece[65536];
      stream.next_out = piece;
      stream.avail_out = sizeof piece;
      state = BZ2_bzDecompress(&stream);
      const std::size_t made = sizeof piece - stream.avail_out;
      text.append(piece, made);
      if (state == BZ_OK && stream.avail_in == 0 && made == 0) state = BZ_UNEXPECTED_EOF;
    } while (state == BZ_OK && text.size() <= kFileBytesMax);
    BZ2_bzDecompressEnd(&stream);
  } while (state == BZ_STREAM_END && stream.avail_in > 0 && text.size() <= kFileBytesMax);
  if (text.size() > kFileBytesMax) return too_large(place);
  if (state != BZ_STREAM_END) return damaged(place);
  return text;
}

Result<std::string> unpacked(std::string_view bytes, std::string_view place) {
  if (bytes.starts_with("\x1f\x8b")) return unpacked_gzip(bytes, place);
  if (bytes.starts_with("BZh")) return unpacked_bzip2(bytes, place);
  return std::string(bytes);
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

// Counts the lines of the text that a parser has read: where in it an event happens.
class LineCounter {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  LineCounter(const char* at, int* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  LineCounter& operator++() {
    *line_ += *at_++ == '\n';
    return *this;
  }
  bool operator==(const LineCounter& other) const { return at_ == other.at_; }
  bool operator!=(const LineCounter& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int* line_;
};

Result<std::vector<ImportRecord>> read_json_document(std::string_view text, const std::string& key, std::string_view place) {
  bool too_deep = false, in_list = key.empty();
  int line = 1;
  std::vector<int> lines;  // that the list's records begin in
  const int depth_of_records = key.empty() ? 1 : 2;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    too_deep = too_deep || depth > kDepthMax;
    if (event == Json::parse_event_t::key && depth == 1 && !key.empty() && (in_list = value == key)) lines.clear();
    if (event == Json::parse_event_t::object_start && depth == depth_of_records && in_list) lines.push_back(line);
    return !too_deep;
  };
  Json document;
  try {
    document = Json::parse(LineCounter(text.data(), &line), LineCounter(text.data() + text.size(), &line), watch);
  } catch (const Json::parse_error& error) {
    return Error{Code::kBadValue, fmt::format("{}:{}: not valid JSON at byte {}", place, line, error.byte)};
  } catch (const Json::exception&) {
    return Error{Code::kBadValue, fmt::format("{}:{}: not valid JSON (a number is out of range)", place, line)};
  }
  if (too_deep) return Error{Code::kTooLarge, fmt::format("{}: nested deeper than {}", place, kDepthMax)};
  const Json* list = &document;
  if (key.empty() && document.is_object()) return std::vector<ImportRecord>{{document, 1}};
  if (!key.empty()) {
    if (!document.is_object() || !document.contains(key)) return Error{Code::kBadValue, fmt::format("{}: no key '{}'", place, key)};
    list = &document[key];
  }
  if (!list->is_array()) return Error{Code::kBadValue, fmt::format("{}: {}, a list of records was expected", place, list->type_name())};
  std::vector<ImportRecord> records;
  for (const Json& one : *list) {
    const std::size_t number = records.size();
    if (!one.is_object()) return Error{Code::kBadValue, fmt::format("{}: record {} is a {}, an object was expected", place, number + 1, one.type_name())};
    records.push_back({one, number < lines.size() ? lines[number] : 1});
    if (records.size() > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
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

// A file of lines, as they stand but for a \r at their end.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

Error not_utf8(std::string_view place, std::size_t line) { return {Code::kBadValue, fmt::format("{}:{}: not valid UTF-8", place, line)}; }

// Cells between tabs, nothing quoted.
Result<std::vector<ImportRecord>> read_tsv(std::string_view text, const std::vector<std::string>& given_columns, std::string_view place) {
  std::vector<std::string> columns = given_columns;
  std::vector<ImportRecord> records;
  int number = 0;
  for (std::string_view line : lines_of(text)) {
    ++number;
    if (line.empty()) continue;
    if (find_invalid_utf8(line) != std::string_view::npos) return not_utf8(place, static_cast<std::size_t>(number));
    std::vector<std::string> cells(1);
    for (char c : line) {
      if (c == '\t') cells.emplace_back();
      else cells.back() += c;
    }
    if (columns.empty()) {
      columns = cells;
      if (std::set<std::string>(columns.begin(), columns.end()).size() != columns.size())
        return Error{Code::kBadValue, fmt::format("{}:{}: the header has a column twice", place, number)};
      continue;
    }
    if (cells.size() != columns.size())
      return Error{Code::kBadValue, fmt::format("{}:{}: {} cells, {} were expected ({})", place, number, cells.size(), columns.size(), fmt::join(columns, ", "))};
    ImportRecord record{Json::object(), number};
    for (std::size_t i = 0; i < cells.size(); ++i) record.fields[columns[i]] = std::move(cells[i]);
    records.push_back(std::move(record));
    if (records.size() > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
  }
  return records;
}

// As many lines a record as there are columns.
Result<std::vector<ImportRecord>> read_lines(std::string_view text, const std::vector<std::string>& columns, std::string_view place) {
  const std::vector<std::string_view> lines = lines_of(text);
  std::vector<ImportRecord> records;
  for (std::size_t at = 0; at < lines.size(); at += columns.size()) {
    if (lines.size() - at < columns.size())
      return Error{Code::kTruncated, fmt::format("{}:{}: {} lines, a record has {} ({})", place, at + 1, lines.size() - at, columns.size(), fmt::join(columns, ", "))};
    ImportRecord record{Json::object(), static_cast<int>(at) + 1};
    for (std::size_t i = 0; i < columns.size(); ++i) {
      if (find_invalid_utf8(lines[at + i]) != std::string_view::npos) return not_utf8(place, at + i + 1);
      record.fields[columns[i]] = lines[at + i];
    }
    records.push_back(std::move(record));
    if (records.size() > kItemsMax) return Error{Code::kTooLarge, fmt::format("{}: more than {} records", place, kItemsMax)};
  }
  return records;
}

// Running text: a record begins with each line that fits the pattern and has all bytes up to the next. White space before the first
// belongs to nobody.
Result<std::vector<ImportRecord>> read_text(std::string_view text, const std::string& starts, std::string_view place) {
  if (const std::size_t broken = find_invalid_utf8(text); broken != std::string_view::npos)
    return not_utf8(place, static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(broken), '\n')) + 1);
  if (starts.empty()) return std::vector<ImportRecord>{{Json{{"text", text}}, 1}};
  const auto pattern = RegularExpression::compile(starts);
  if (!pattern) return Error{pattern.error().code, fmt::format("{}: record_starts: {}", place, pattern.error().detail)};
  std::vector<ImportRecord> records;
  std::size_t begin = std::string_view::npos;
  int number = 0, first = 1;
  const auto close = [&](std::size_t end) {
    if (begin != std::string_view::npos) records.push_back({Json{{"text", text.substr(begin, end - begin)}}, first});
  };
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const auto matches = pattern->find_all(line);
    if (!matches) return Error{matches.error().code, fmt::format("{}:{}: {}", place, number, matches.error().detail)};
    if (!matches->empty()) {
      close(at);
      begin = at;
      first = number;
    } else if (begin == std::string_view::npos && line.find_first_not_of(" \t\r") != std::string_view::npos) {
      return Error{Code::kBadValue, fmt::format("{}:{}: text before the first record", place, number)};
    }
    at = end + 1;
  }
  close(text.size());
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
  if (name.extension() == ".gz" || name.extension() == ".bz2") name = name.stem();
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

std::string split_named_by(const fs::path& path) {
  constexpr std::pair<std::string_view, std::string_view> kWords[] = {
      {"train", "train"}, {"test", "test"}, {"dev", "validation"}, {"val", "validation"}, {"valid", "validation"}, {"validation", "validation"}};
  std::set<std::string> named;
  std::string word;
  for (const char c : path.string() + ".") {
    const char lower = static_cast<char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    if (lower >= 'a' && lower <= 'z') {
      word += lower;
      continue;
    }
    for (const auto& [known, split] : kWords)
      if (word == known) named.insert(std::string(split));
    word.clear();
  }
  return named.size() == 1 ? *named.begin() : std::string();
}

Result<std::vector<ImportRecord>> read_records(std::string_view bytes, const ImportSource& source, std::string_view place) {
  auto text = unpacked(bytes, place);
  if (!text) return text.error();
  std::string_view content = *text;
  if (content.starts_with("\xef\xbb\xbf")) content.remove_prefix(3);  // a byte order mark
  switch (source.format) {
    case ImportSource::Format::kCsv: return read_csv(content, source.columns, place);
    case ImportSource::Format::kTsv: return read_tsv(content, source.columns, place);
    case ImportSource::Format::kLines: return read_lines(content, source.columns, place);
    case ImportSource::Format::kText: return read_text(content, source.record_starts, place);
    case ImportSource::Format::kJson:
    case ImportSource::Format::kJsonl: break;
  }
  // A .json may hold JSON lines and the other way round: what the text begins with decides.
  const std::size_t begin = content.find_first_not_of(" \t\r\n");
  const bool list = begin != std::string_view::npos && content[begin] == '[';
  const std::string_view first_line = content.substr(0, content.find('\n'));
  const bool pretty = source.format == ImportSource::Format::kJson && !Json::accept(first_line);  // one object over several lines
  if (list || !source.records.empty() || pretty) return read_json_document(content, source.records, place);
  return read_json_lines(content, place);
}

namespace {

Result<std::vector<ImportRecord>> records_of_file(const fs::path& file, const ImportSource& source) {
  std::error_code failure;
  const auto size = fs::file_size(file, failure);
  if (!failure && size > kFileBytesMax) return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are allowed", file.string(), size, kFileBytesMax)};
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (failure || !stream.good()) return Error{Code::kIo, fmt::format("{}: cannot be read", file.string())};
  return read_records(bytes, source, file.string());
}

// All files of a source, in order.
Result<std::vector<fs::path>> files_of(const ImportSource& source, const fs::path& from) {
  std::vector<fs::path> all;
  for (const std::string& pattern : source.files) {
    auto files = find_files(pattern, from);
    if (!files) return files.error();
    all.insert(all.end(), files->begin(), files->end());
    if (fs::is_regular_file(from)) break;  // the one file stands for all patterns
  }
  return all;
}

// Does the name of the one file fit a pattern of this edition?
bool names(const ImportSource& source, const fs::path& file, bool exactly) {
  return std::any_of(source.files.begin(), source.files.end(), [&](const std::string& pattern) {
    const std::string wanted = fs::path(pattern).filename().string(), name = file.filename().string();
    const std::size_t star = wanted.find('*');
    if (exactly || star == std::string::npos) return wanted == name;
    return name.size() + 1 >= wanted.size() && name.starts_with(wanted.substr(0, star)) && name.ends_with(wanted.substr(star + 1));
  });
}

}  // namespace

Result<ImportedItems> import_items(const std::vector<ImportSource>& editions, const fs::path& from, std::string_view place) {
  std::error_code failure;
  if (editions.size() > 1 && fs::is_regular_file(from, failure)) {
    for (const bool exactly : {true, false})
      for (const ImportSource& edition : editions)
        if (names(edition, from, exactly)) return import_items(edition, from, place);
    return import_items(editions.front(), from, place);
  }
  std::optional<Error> first_error;
  for (const ImportSource& edition : editions) {
    auto items = import_items(edition, from, place);
    if (items || items.error().code != Code::kNotFound) return items;
    if (!first_error) first_error = items.error();
  }
  return *first_error;
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
  const auto files = files_of(source, from);
  if (!files) return files.error();
  std::error_code one_file_failure;
  const fs::path folder = fs::is_regular_file(from, one_file_failure) ? from.parent_path() : from;  // of one file the joined ones lie beside it
  std::vector<std::vector<fs::path>> joined_files;
  for (const ImportSource& other : source.join) {
    const auto joined = files_of(other, folder);
    if (!joined) return joined.error();
    if (joined->size() != files->size())
      return Error{Code::kBadValue, fmt::format("{}: {} files {} and {} files {}: one for each was expected", from.string(), files->size(), fmt::join(source.files, ", "),
                                                joined->size(), fmt::join(other.files, ", "))};
    joined_files.push_back(*joined);
  }
  for (std::size_t f = 0; f < files->size(); ++f) {
    const fs::path& file = (*files)[f];
    auto records = records_of_file(file, source);
    if (!records) return records.error();
    imported.files.push_back(file);
    for (std::size_t j = 0; j < source.join.size(); ++j) {
      const fs::path& other_file = joined_files[j][f];
      auto others = records_of_file(other_file, source.join[j]);
      if (!others) return others.error();
      if (others->size() != records->size() && others->size() != 1)
        return Error{Code::kBadValue, fmt::format("{} has {} records and {} has {}: they belong together one by one", file.string(), records->size(), other_file.string(), others->size())};
      for (std::size_t i = 0; i < records->size(); ++i) (*records)[i].fields.update((*others)[others->size() == 1 ? 0 : i].fields);
      imported.files.push_back(other_file);
    }
    int index = 0;
    for (ImportRecord& record : *records) {
      const auto in_record = [&](const Error& error) { return Error{error.code, fmt::format("{}:{}: {}", file.string(), record.line, error.detail)}; };
      Json variables = fields.empty() ? record.fields : std::move(record.fields);
      variables["file"] = stem_of(file);
      variables["folder"] = file.parent_path().filename().string();
      variables["index"] = index++;
      variables["number"] = number++;
      if (when) {
        const auto stays = when->render(variables);
        if (!stays) return in_record(stays.error());
        if (stays->empty()) continue;
      }
      const auto id = id_template->render(variables);
      if (!id) return in_record(id.error());
      Json item = fields.empty() ? std::move(record.fields) : Json::object();
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
  if (imported.count == 0) return Error{Code::kBadValue, fmt::format("{}: no record became an item", from.string())};
  imported.sha256 = sha256_of_text(imported.jsonl);
  return imported;
}

}  // namespace quantfleet
