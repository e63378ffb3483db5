// The GGUF reader and writer: what is written reads back, and every kind of damage gets one sentence and its own code.
#include "backends/formats/gguf.h"

#include "backends/formats/catalog.h"
#include "backends/formats/file_hash.h"
#include "tests/folder.h"
#include "tests/shared_data.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>

using namespace quantfleet;

namespace {

using test::Folder;

// Bytes of a GGUF file, put together by hand so that any of them can be wrong.
struct Bytes {
  std::string data;
  template <class T>
  Bytes& number(T value) {
    data.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& text(std::string_view value) {
    number(static_cast<std::uint64_t>(value.size()));
    data.append(value);
    return *this;
  }
  Bytes& raw(std::string_view value) {
    data.append(value);
    return *this;
  }
  Bytes& header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    return raw("GGUF").number(version).number(tensors).number(keys);
  }
  Bytes& tensor(std::string_view name, std::vector<std::uint64_t> shape, std::uint32_t type, std::uint64_t offset) {
    text(name).number(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t n : shape) number(n);
    return number(type).number(offset);
  }
  Bytes& data_section(std::size_t size) {
    data.resize((data.size() + 31) / 32 * 32 + size);
    return *this;
  }
};

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

// The code of what is wrong with the bytes; the sentence must name the place.
Code code_of(const Bytes& bytes) {
  const auto file = GgufFile::parse(as_bytes(bytes.data), "bad.gguf");
  if (!file) {
    CHECK(file.error().detail.starts_with("bad.gguf: "));
    CHECK(file.error().detail.find('\n') == std::string::npos);
    return file.error().code;
  }
  FAIL("accepted");
  return {};
}

// One small valid file: two keys, an F32 and a Q8_0 tensor.
Bytes small_file() {
  Bytes bytes;
  bytes.header(2, 2).text("general.architecture").number(8u).text("llama").text("general.name").number(8u).text("tiny");
  bytes.tensor("a.weight", {4, 2}, 0, 0).tensor("b.weight", {32}, 8, 32);
  return bytes.data_section(32 + 34);
}

}  // namespace

TEST_CASE("a small file reads as what was put in", "[gguf]") {
  const Bytes bytes = small_file();
  const auto file = GgufFile::parse(as_bytes(bytes.data), "good.gguf");
  REQUIRE(file.has_value());
  CHECK((*file)->version() == 3);
  CHECK((*file)->alignment() == 32);
  CHECK((*file)->get_string("general.architecture").value() == "llama");
  REQUIRE((*file)->tensors().size() == 2);
  const GgufTensor* tensor = (*file)->find_tensor("a.weight");
  REQUIRE(tensor);
  CHECK(tensor->format == &kF32);
  CHECK(tensor->columns() == 4);
  CHECK(tensor->rows() == 2);
  CHECK(tensor->bytes.size() == 32);
  CHECK((*file)->find_tensor("b.weight")->bytes.size() == 34);
  CHECK((*file)->find_tensor("c.weight") == nullptr);
}

TEST_CASE("the worked example of docs/formats/gguf.md is a file", "[gguf]") {
  Bytes bytes;
  bytes.raw("GGUF").number(3u).number(std::uint64_t{1}).number(std::uint64_t{1});
  CHECK(bytes.data.size() == 0x18);
  bytes.text("k").number(4u).number(7u);
  CHECK(bytes.data.size() == 0x29);
  bytes.text("a.weight").number(1u).number(std::uint64_t{2}).number(0u).number(std::uint64_t{0});
  CHECK(bytes.data.size() == 0x51);
  bytes.data_section(0).number(1.0f).number(2.0f);
  REQUIRE(bytes.data.size() == 104);
  const auto file = GgufFile::parse(as_bytes(bytes.data), "example.gguf");
  REQUIRE(file.has_value());
  CHECK((*file)->get_int("k").value() == 7);
  float values[2];
  kF32.decode((*file)->find_tensor("a.weight")->bytes.data(), 2, values);
  CHECK(values[0] == 1);
  CHECK(values[1] == 2);
}

TEST_CASE("a file cut after any byte of header or data is refused", "[gguf][damage]") {
  const Bytes whole = small_file();
  for (std::size_t size = 0; size < whole.data.size(); ++size) {
    Bytes cut;
    cut.data = whole.data.substr(0, size);
    CAPTURE(size);
    CHECK(code_of(cut) == Code::kTruncated);
  }
}

TEST_CASE("any single byte of the header may change without harm", "[gguf][damage]") {
  const Bytes whole = small_file();
  for (std::size_t place = 0; place < whole.data.size() - 66; ++place)
    for (const unsigned char value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      Bytes changed = whole;
      changed.data[place] = static_cast<char>(value);
      const auto file = GgufFile::parse(as_bytes(changed.data), "bad.gguf");
      if (!file) continue;
      for (const GgufTensor& tensor : (*file)->tensors())  // what is accepted lies inside the bytes
        CHECK(tensor.bytes.data() + tensor.bytes.size() <= as_bytes(changed.data).data() + changed.data.size());
    }
}

TEST_CASE("files of another kind or version are told apart", "[gguf][damage]") {
  CHECK(code_of(Bytes().raw("PK\x03\x04 not a model at all")) == Code::kBadMagic);
  CHECK(code_of(Bytes().header(0, 0, 1)) == Code::kBadVersion);
  CHECK(code_of(Bytes().header(0, 0, 4)) == Code::kBadVersion);
  CHECK(code_of(Bytes().header(0, 0, 0x03000000)) == Code::kBadVersion);  // big-endian version 3
  CHECK(GgufFile::parse(as_bytes(Bytes().header(0, 0, 2).data), "v2.gguf").has_value());
}

TEST_CASE("a header that promises more than the file can hold is refused at once", "[gguf][damage]") {
  const auto begin = std::chrono::steady_clock::now();
  CHECK(code_of(Bytes().header(1'000'000, 0).data_section(64)) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(90'000, 0).data_section(64)) == Code::kTruncated);
  CHECK(code_of(Bytes().header(~std::uint64_t{0}, 0)) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(0, ~std::uint64_t{0})) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(0, 1).text("k").number(9u).number(4u).number(std::uint64_t{1} << 61)) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(0, 1).text("k").number(9u).number(8u).number(std::uint64_t{1} << 20)) == Code::kTruncated);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
}

TEST_CASE("a million tensors, all of them there, are refused quickly", "[gguf][damage]") {
  Bytes bytes;
  bytes.header(1'000'000, 0);
  bytes.data.resize(bytes.data.size() + 40'000'000);
  const auto begin = std::chrono::steady_clock::now();
  CHECK(code_of(bytes) == Code::kTooLarge);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
}

TEST_CASE("texts longer than the file, or than the limit, are refused", "[gguf][damage]") {
  CHECK(code_of(Bytes().header(0, 1).number(~std::uint64_t{0}).data_section(64)) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(0, 1).number(std::uint64_t{5000}).data_section(64)) == Code::kTruncated);
  CHECK(code_of(Bytes().header(0, 1).text("key").number(8u).number(std::uint64_t{1} << 40)) == Code::kTooLarge);
  CHECK(code_of(Bytes().header(1, 0).tensor(std::string(65, 'x'), {1}, 0, 0).data_section(32)) == Code::kTooLarge);
}

TEST_CASE("metadata of the wrong kind is refused", "[gguf][damage]") {
  const auto one_key = [](auto fill) {
    Bytes bytes;
    bytes.header(0, 1).text("key");
    fill(bytes);
    return bytes.data_section(64);
  };
  CHECK(code_of(one_key([](Bytes& b) { b.number(13u); })) == Code::kBadValue);                                        // unknown type
  CHECK(code_of(one_key([](Bytes& b) { b.number(7u).number(std::uint8_t{2}); })) == Code::kBadValue);                 // bool of 2
  CHECK(code_of(one_key([](Bytes& b) { b.number(9u).number(13u).number(std::uint64_t{1}); })) == Code::kBadValue);    // unknown element
  CHECK(code_of(one_key([](Bytes& b) { b.number(9u).number(9u).number(std::uint64_t{1}); })) == Code::kUnsupported);  // nested arrays
  CHECK(code_of(Bytes().header(0, 2).text("a").number(4u).number(1u).text("a").number(4u).number(2u)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(0, 1).text("").number(4u).number(1u)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(0, 1).text("a\nb").number(4u).number(1u)) == Code::kBadValue);
}

TEST_CASE("the alignment must be a uint32 and a power of two", "[gguf][damage]") {
  const auto with = [](std::uint32_t alignment) {
    return Bytes().header(0, 1).text("general.alignment").number(4u).number(alignment);
  };
  CHECK(code_of(with(0)) == Code::kBadValue);
  CHECK(code_of(with(48)) == Code::kBadValue);
  CHECK(code_of(with(0x80000000)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(0, 1).text("general.alignment").number(8u).text("32")) == Code::kBadValue);
  const Bytes good = with(64);
  CHECK(GgufFile::parse(as_bytes(good.data), "good.gguf").value()->alignment() == 64);
}

TEST_CASE("tensors with impossible shapes are refused by name", "[gguf][damage]") {
  const auto one = [](std::vector<std::uint64_t> shape, std::uint32_t type = 0, std::uint64_t offset = 0) {
    return Bytes().header(1, 0).tensor("blk.0.bad.weight", std::move(shape), type, offset).data_section(256);
  };
  const std::uint64_t huge = std::uint64_t{1} << 32;
  CHECK(code_of(one({})) == Code::kBadShape);
  CHECK(code_of(one({1, 1, 1, 1, 1})) == Code::kBadShape);
  CHECK(code_of(one({4, 0})) == Code::kBadShape);
  CHECK(code_of(one({huge, huge})) == Code::kTooLarge);              // 2^64 values
  CHECK(code_of(one({huge, huge, huge, huge})) == Code::kTooLarge);
  CHECK(code_of(one({~std::uint64_t{0}})) == Code::kTooLarge);
  CHECK(code_of(one({huge << 30})) == Code::kTooLarge);              // 2^62 values of 4 bytes
  CHECK(code_of(one({huge << 29})) == Code::kTruncated);             // 2^63 bytes
  CHECK(code_of(one({100}, 12)) == Code::kBadShape);                 // Q4_K wants 256
  CHECK(code_of(one({33}, 8)) == Code::kBadShape);                   // Q8_0 wants 32
  const auto file = GgufFile::parse(as_bytes(one({100, 2}, 14).data), "bad.gguf");
  REQUIRE_FALSE(file.has_value());
  CHECK(file.error().detail.find("blk.0.bad.weight") != std::string::npos);
  CHECK(file.error().detail.find("256") != std::string::npos);
}

TEST_CASE("an unknown weight format is named", "[gguf][damage]") {
  for (const auto& [type, words] : {std::pair(15u, "Q8_K"), std::pair(4u, "number 4"), std::pair(0xffffffffu, "number 4294967295")}) {
    const Bytes bytes = Bytes().header(1, 0).tensor("a", {32}, type, 0).data_section(64);
    const auto file = GgufFile::parse(as_bytes(bytes.data), "bad.gguf");
    REQUIRE_FALSE(file.has_value());
    CHECK(file.error().code == Code::kUnknownFormat);
    CHECK(file.error().detail.find(words) != std::string::npos);
  }
}

TEST_CASE("tensors must lie inside the file, aligned, and not on each other", "[gguf][damage]") {
  CHECK(code_of(Bytes().header(1, 0).tensor("a", {8}, 0, 1).data_section(64)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(1, 0).tensor("a", {8}, 0, 64).data_section(64)) == Code::kTruncated);
  CHECK(code_of(Bytes().header(1, 0).tensor("a", {8}, 0, ~std::uint64_t{31}).data_section(64)) == Code::kTruncated);
  CHECK(code_of(Bytes().header(1, 0).tensor("a", {1000}, 0, 0).data_section(64)) == Code::kTruncated);
  CHECK(code_of(Bytes().header(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data_section(128)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(2, 0).tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 0).data_section(128)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data_section(128)) == Code::kBadValue);
  CHECK(code_of(Bytes().header(1, 0).tensor("", {8}, 0, 0).data_section(64)) == Code::kBadValue);
}

TEST_CASE("look-ups name the key, what it holds and what was expected", "[gguf]") {
  const Bytes bytes = Bytes().header(0, 4).text("n").number(4u).number(7u).text("f").number(6u).number(0.5f)
                          .text("s").number(8u).text("x").text("big").number(10u).number(~std::uint64_t{0});
  const auto file = GgufFile::parse(as_bytes(bytes.data), "good.gguf").value();
  CHECK(file->get_int("n").value() == 7);
  CHECK(file->get_float("f").value() == 0.5);
  CHECK(file->int_or("absent", 3).value() == 3);
  CHECK(file->get_int("big").error().code == Code::kBadValue);
  CHECK(file->get_int("s").error().detail == "good.gguf: metadata key s is string, expected an integer");
  CHECK(file->get_string("absent").error().detail == "good.gguf: metadata key absent is missing");
  CHECK_FALSE(file->string_or("n", "").has_value());
}

TEST_CASE("what the writer writes reads back, key for key and byte for byte", "[gguf]") {
  const Folder folder;
  const auto path = folder.path / "written.gguf";
  std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.architecture", gguf_string("llama")}, {"u16", gguf_uint16(7)}, {"u32", gguf_uint32(4294967295u)},
      {"i32", gguf_int32(-5)}, {"f", gguf_float32(0.1f)}, {"yes", gguf_bool(true)}, {"texts", gguf_strings({"a", "", "ccc"})},
      {"floats", gguf_floats({1.5f, -2})}, {"ints", gguf_int32s({-1, 0, 1})}, {"general.alignment", gguf_uint32(64)}};
  const std::vector<GgufWriter::TensorPlan> plan = {{"a", &kF16, {3, 5}}, {"b", &kQ4_0, {64, 2}}};
  const std::string first(30, 'x'), second(72, 'y');
  auto writer = GgufWriter::create(path, metadata, plan).value();
  REQUIRE(writer->write(as_bytes(first)).has_value());
  REQUIRE(writer->write(as_bytes(second).first(10)).has_value());
  CHECK_FALSE(std::filesystem::exists(path));  // not before it is complete
  REQUIRE(writer->write(as_bytes(second).subspan(10)).has_value());
  REQUIRE(writer->finish().has_value());
  writer.reset();
  CHECK(folder.count_files() == 1);

  const auto file = GgufFile::open(path).value();
  CHECK(file->alignment() == 64);
  REQUIRE(file->metadata().size() == metadata.size());
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    CAPTURE(metadata[i].first);
    CHECK(file->metadata()[i].first == metadata[i].first);
    CHECK(file->metadata()[i].second.type == metadata[i].second.type);
    CHECK(file->metadata()[i].second.data == metadata[i].second.data);
  }
  CHECK(std::memcmp(file->find_tensor("a")->bytes.data(), first.data(), first.size()) == 0);
  CHECK(std::memcmp(file->find_tensor("b")->bytes.data(), second.data(), second.size()) == 0);
}

TEST_CASE("arrays lie in the file's bytes and are read in their width", "[gguf]") {
  const Bytes bytes = Bytes().header(0, 4)
                          .text("i8").number(9u).number(1u).number(std::uint64_t{2}).number(std::int8_t{-3}).number(std::int8_t{4})
                          .text("u64").number(9u).number(10u).number(std::uint64_t{1}).number(~std::uint64_t{0})
                          .text("f64").number(9u).number(12u).number(std::uint64_t{1}).number(0.25)
                          .text("texts").number(9u).number(8u).number(std::uint64_t{2}).text("left").text("");
  const auto file = GgufFile::parse(as_bytes(bytes.data), "good.gguf").value();
  CHECK(file->get_ints("i8").value() == std::vector<std::int64_t>{-3, 4});
  CHECK(file->get_ints("u64").error().code == Code::kBadValue);
  CHECK(file->get_floats("f64").value() == std::vector<float>{0.25f});
  CHECK(file->get_ints("texts").error().detail == "good.gguf: metadata key texts is array of string, expected an array of integers");
  const auto texts = file->get_strings("texts").value();
  REQUIRE(texts == std::vector<std::string_view>{"left", ""});
  CHECK(texts[0].data() == bytes.data.data() + bytes.data.find("left"));
  CHECK(std::get<std::int64_t>(file->find("i8")->first_elements(1).at(0)) == -3);
  CHECK(std::get<std::string>(file->find("texts")->first_elements(9).at(0)) == "left");
}

TEST_CASE("a writer that is given up, or given wrong bytes, leaves nothing", "[gguf]") {
  const Folder folder;
  {
    auto writer = GgufWriter::create(folder.path / "x.gguf", {}, {{"a", &kF32, {8}}}).value();
    CHECK(writer->write(as_bytes(std::string(40, 'x'))).error().code == Code::kBadShape);
    CHECK_FALSE(writer->finish().has_value());  // the tensor is not complete
  }
  CHECK(folder.count_files() == 0);
  CHECK(GgufWriter::create(folder.path / "x.gguf", {}, {{"a", &kQ4_K, {100}}}).error().code == Code::kBadShape);
  CHECK(GgufWriter::create(folder.path / "x.gguf", {}, {{"a", &kF32, {1}}, {"a", &kF32, {1}}}).error().code == Code::kBadValue);
  CHECK(GgufWriter::create(folder.path / "no" / "x.gguf", {}, {}).error().code == Code::kNotFound);
  CHECK(folder.count_files() == 0);
}

TEST_CASE("no space left: the sentence names the file and nothing stays", "[gguf]") {
  const Folder folder;
  // A limit on the size of files stands in for a full disk: reserving or writing beyond it fails in the same way.
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 100'000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto writer = GgufWriter::create(folder.path / "big.gguf", {}, {{"a", &kF32, {1'000'000}}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  REQUIRE_FALSE(writer.has_value());
  CHECK(writer.error().code == Code::kDiskFull);
  CHECK(writer.error().detail.find("big.gguf") != std::string::npos);
  CHECK(folder.count_files() == 0);
}

TEST_CASE("files that are not there, not files or empty get their own sentence", "[gguf]") {
  const Folder folder;
  CHECK(GgufFile::open(folder.path / "absent.gguf").error().code == Code::kNotFound);
  CHECK(GgufFile::open(folder.path).error().code == Code::kBadValue);
  std::ofstream(folder.path / "empty.gguf").close();
  CHECK(GgufFile::open(folder.path / "empty.gguf").error().code == Code::kTruncated);
}

TEST_CASE("a split model opens as one, and a missing or foreign part is named", "[gguf]") {
  const Folder folder;
  const auto part = [&](int number, int count) { return folder.path / fmt::format("m-{:05}-of-{:05}.gguf", number, count); };
  const auto write_part = [&](const std::filesystem::path& path, int number, int promised, const std::string& tensor) {
    auto writer = GgufWriter::create(path, {{"split.no", gguf_uint16(static_cast<std::uint16_t>(number))},
                                            {"split.count", gguf_uint16(2)},
                                            {"split.tensors.count", gguf_int32(promised)}},
                                     {{tensor, &kF32, {8}}}).value();
    REQUIRE(writer->write(as_bytes(std::string(32, static_cast<char>('0' + number)))).has_value());
    REQUIRE(writer->finish().has_value());
  };
  write_part(part(1, 2), 0, 2, "a");
  SECTION("both parts there") {
    write_part(part(2, 2), 1, 2, "b");
    const auto file = GgufFile::open(part(1, 2)).value();
    CHECK(file->parts().size() == 2);
    REQUIRE(file->find_tensor("b"));
    CHECK(file->find_tensor("b")->bytes[0] == std::byte{'1'});
    CHECK(GgufFile::open(part(2, 2)).error().detail.find("open the first part") != std::string::npos);
  }
  SECTION("the second is missing") {
    const auto error = GgufFile::open(part(1, 2)).error();
    CHECK(error.code == Code::kNotFound);
    CHECK(error.detail.find("00002-of-00002") != std::string::npos);
  }
  SECTION("the second is another first") {
    write_part(part(2, 2), 0, 2, "b");
    CHECK(GgufFile::open(part(1, 2)).error().code == Code::kBadValue);
  }
  SECTION("a tensor is in both") {
    write_part(part(2, 2), 1, 2, "a");
    CHECK(GgufFile::open(part(1, 2)).error().code == Code::kBadValue);
  }
  SECTION("fewer tensors than promised") {
    write_part(part(1, 2), 0, 3, "a");
    write_part(part(2, 2), 1, 3, "b");
    CHECK(GgufFile::open(part(1, 2)).error().code == Code::kBadValue);
  }
  SECTION("a first part under another name") {
    std::filesystem::rename(part(1, 2), folder.path / "renamed.gguf");
    CHECK(GgufFile::open(folder.path / "renamed.gguf").error().code == Code::kBadValue);
  }
}

TEST_CASE("opening a file of a gigabyte takes well under a second", "[gguf]") {
  const Folder folder;
  const auto path = folder.path / "big.gguf";
  Bytes bytes;
  bytes.header(1, 0).tensor("a", {std::uint64_t{1} << 28}, 0, 0).data_section(0);
  std::ofstream(path, std::ios::binary) << bytes.data;
  std::filesystem::resize_file(path, bytes.data.size() + (std::uintmax_t{1} << 30));  // sparse: takes no space
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(GgufFile::open(path).has_value());
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::milliseconds(500));
}

TEST_CASE("the oracle's models are read and written again with the same bytes", "[gguf][oracle]") {
  const std::string relative = "oracle/models/stories260K/stories260K.Q4_K_M.gguf";
  if (!test::has_shared(relative)) return;
  const Folder folder;
  const auto file = GgufFile::open(test::shared_root() / relative).value();
  std::vector<GgufWriter::TensorPlan> plan;
  for (const GgufTensor& tensor : file->tensors()) plan.push_back({tensor.name, tensor.format, tensor.shape});
  auto writer = GgufWriter::create(folder.path / "copy.gguf", file->metadata(), plan).value();
  for (const GgufTensor& tensor : file->tensors()) REQUIRE(writer->write(tensor.bytes).has_value());
  REQUIRE(writer->finish().has_value());
  CHECK(sha256_of_file(folder.path / "copy.gguf").value() == sha256_of_file(test::shared_root() / relative).value());
}

TEST_CASE("SHA-256 of known bytes, and of a file that is absent", "[hash]") {
  CHECK(sha256_of_bytes({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_of_bytes(as_bytes("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const Folder folder;
  std::ofstream(folder.path / "abc", std::ios::binary) << "abc";
  CHECK(sha256_of_file(folder.path / "abc").value() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_of_file(folder.path / "absent").error().code == Code::kNotFound);
}
