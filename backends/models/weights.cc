#include "backends/models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <tuple>

namespace quantfleet {
namespace {

// Takes tensors out of a file by name, checks them, and remembers which were asked for.
class Loader {
 public:
  Loader(const GgufFile& file, const KernelFamily& family, ThreadPool& pool, bool release_pages, std::span<const AppliedAdapter> adapters)
      : file_(file), family_(family), pool_(pool), release_pages_(release_pages) {
    for (const AppliedAdapter& applied : adapters)
      for (const LowRankUpdate& update : applied.adapter->updates) updates_[update.tensor].push_back({&update, &applied, false});
  }

  Result<const GgufTensor*> tensor(const std::string& name, std::vector<std::int64_t> shape) {
    const GgufTensor* found = file_.find_tensor(name);
    if (!found) return bad(Code::kNotFound, fmt::format("tensor {} is missing", name));
    used_.insert(found->name);
    std::vector<std::int64_t> given = found->shape;
    while (given.size() > shape.size() && given.back() == 1) given.pop_back();
    if (given != shape)
      return bad(Code::kBadShape, fmt::format("tensor {} has shape {}; {} is needed", name, text(found->shape), text(shape)));
    return found;
  }

  Result<std::vector<float>> vector(const std::string& name, std::int64_t count) {
    const auto found = tensor(name, {count});
    if (!found) return found.error();
    const GgufTensor& source = **found;
    if (source.format->row_bytes(source.columns()) == 0)
      return bad(Code::kBadShape, fmt::format("tensor {} is not whole blocks of {}", name, source.format->name));
    std::vector<float> values(static_cast<std::size_t>(count));
    std::vector<std::byte> buffer;
    source.format->decode(file_.rows(source, 0, source.rows(), buffer).data(), count / source.format->values_per_block, values.data());
    for (std::int64_t i = 0; i < count; ++i)
      if (!(values[i] - values[i] == 0.0f))
        return bad(Code::kNonFinite, fmt::format("tensor {}: value {} is not a finite number", name, i));
    bytes_ += values.size() * sizeof(float);
    return values;
  }

  // Rows of a tensor [columns, rows] or, of one expert, [columns, rows, experts]. adapted_as: the name that adapters know it by.
  struct Piece {
    const GgufTensor* tensor;
    std::int64_t begin, rows;
    std::string adapted_as;
  };

  Result<Piece> whole(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const auto found = tensor(name, {columns, rows});
    if (!found) return found.error();
    return Piece{*found, 0, rows, name};
  }

  Result<StackedMatrix> matrix(const std::string& name, std::int64_t rows, std::int64_t columns) { return stack({{name, rows}}, columns); }

  // Tied: the embedding is the output matrix, too; adapters change one of them alone.
  Result<StackedMatrix> output(std::int64_t rows, std::int64_t columns) {
    auto piece = whole(file_.find_tensor("output.weight") ? "output.weight" : "token_embd.weight", rows, columns);
    if (!piece) return piece.error();
    piece->adapted_as = "output.weight";
    return stack({*piece}, columns);
  }

  Result<StackedMatrix> stack(const std::vector<std::pair<std::string, std::int64_t>>& names_and_rows, std::int64_t columns) {
    std::vector<Piece> pieces;
    for (const auto& [name, rows] : names_and_rows) {
      const auto piece = whole(name, rows, columns);
      if (!piece) return piece.error();
      pieces.push_back(*piece);
    }
    return stack(pieces, columns);
  }

  // Neighbours of one format become one matrix.
  Result<StackedMatrix> stack(const std::vector<Piece>& pieces, std::int64_t columns) {
    StackedMatrix stacked;
    for (std::size_t first = 0; first < pieces.size();) {
      std::size_t last = first + 1;
      while (last < pieces.size() && pieces[last].tensor->format == pieces[first].tensor->format) ++last;
      const std::int64_t row_bytes = pieces[first].tensor->format->row_bytes(columns);
      const auto give_back = [&](const Piece& piece) {
        if (!release_pages_) return;
        if (piece.tensor->bytes.empty()) file_.forget_all();
        else file_.forget(piece.tensor->bytes.subspan(static_cast<std::size_t>(piece.begin * row_bytes), static_cast<std::size_t>(piece.rows * row_bytes)));
      };
      std::vector<std::byte> together, buffer;
      std::span<const std::byte> bytes;
      std::int64_t rows = 0;
      std::string names;
      for (std::size_t i = first; i < last; ++i) rows += pieces[i].rows;
      if (last > first + 1) together.reserve(static_cast<std::size_t>(rows * row_bytes));
      for (std::size_t i = first; i < last; ++i) {
        const Piece& piece = pieces[i];
        bytes = file_.rows(*piece.tensor, piece.begin, piece.begin + piece.rows, buffer);
        if (last > first + 1) {
          together.insert(together.end(), bytes.begin(), bytes.end());
          give_back(piece);
        }
        names += (names.empty() ? "" : " and ") + piece.tensor->name;
        if (piece.rows < piece.tensor->rows()) names += fmt::format(" (from row {})", piece.begin);
      }
      if (last > first + 1) bytes = together;
      auto packed = WeightMatrix::pack(family_, *pieces[first].tensor->format, bytes, rows, columns, pool_);
      if (!packed) return at(file_.path().string() + ": tensor " + names, packed.error());
      for (std::size_t i = first; i < last; ++i) {
        values_of_[pieces[i].tensor->format->name] += pieces[i].rows * columns;
        give_back(pieces[i]);
      }
      bytes_ += packed->size_bytes();
      stacked.parts.push_back({std::move(*packed), stacked.rows});
      for (std::size_t i = first; i < last; ++i) {
        if (Status added = add_updates(pieces[i], stacked); !added) return added.error();
        stacked.rows += pieces[i].rows;
      }
      first = last;
    }
    return stacked;
  }

  // The embedding stays in the file; its values are checked once.
  Result<const GgufTensor*> embedding(const std::string& name, std::int64_t rows, std::int64_t columns) {
    const auto found = tensor(name, {columns, rows});
    if (!found) return found.error();
    const GgufTensor& source = **found;
    const std::int64_t row_bytes = source.format->row_bytes(columns);
    if (row_bytes == 0)
      return bad(Code::kBadShape, fmt::format("tensor {} is not whole blocks of {}", name, source.format->name));
    std::atomic<std::int64_t> bad_row = -1;
    const auto check = [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<float> values(static_cast<std::size_t>(columns));
      std::vector<std::byte> buffer;
      for (std::int64_t row = begin; row < end; ++row) {
        source.format->decode(file_.rows(source, row, row + 1, buffer).data(), columns / source.format->values_per_block, values.data());
        float zero = 0;
        for (const float value : values) zero += value - value;
        if (!(zero == 0.0f)) bad_row = row;
      }
    };
    pool_.parallel_for(rows, 64, check);
    if (bad_row >= 0)
      return bad(Code::kNonFinite, fmt::format("tensor {}: row {} has a value that is not a finite number", name, bad_row.load()));
    if (release_pages_) file_.forget(source.bytes);
    bytes_ += source.size_bytes();
    return &source;
  }

  // What adapters add to embeddings [rows, columns].
  Result<std::vector<EmbeddingUpdate>> embedding_updates(std::int64_t rows, std::int64_t columns) {
    std::vector<EmbeddingUpdate> all;
    const auto found = updates_.find(kAdaptedEmbedding);
    if (found == updates_.end()) return all;
    for (Wanted& wanted : found->second) {
      const LowRankUpdate& update = *wanted.update;
      if (Status fits = check_shape(wanted, rows, columns); !fits) return fits.error();
      auto b = WeightMatrix::pack_floats(family_, update.b, columns, update.rank, pool_);
      if (!b) return at(wanted.applied->adapter->place + ": tensor " + update.tensor, b.error());
      bytes_ += (update.a.size() + update.b.size()) * sizeof(float);
      all.push_back({update.a, std::move(*b), update.scale * wanted.applied->scale});
    }
    return all;
  }

  // An update that changed nothing would be ignored, and the results would be the base model's.
  Status all_updates_used() const {
    for (const auto& [name, all] : updates_)
      for (const Wanted& wanted : all)
        if (!wanted.used)
          return Error{Code::kUnsupported, fmt::format("{}: tensor {}{} is not a matrix of {} that an adapter can change", wanted.applied->adapter->place, name,
                                                       wanted.update->expert >= 0 ? fmt::format(" (expert {})", wanted.update->expert) : "", file_.path().string())};
    return {};
  }

  // A tensor that nobody asked for would be ignored, and the results would be wrong.
  Status all_used() const {
    for (const GgufTensor& tensor : file_.tensors())
      if (!used_.count(tensor.name))
        return bad(Code::kUnsupported, fmt::format("tensor {} is not part of this architecture as this program knows it", tensor.name));
    return {};
  }

  std::uint64_t bytes() const { return bytes_; }
  std::string main_format() const {
    std::string_view best = "F32";
    std::int64_t most = 0;
    for (const auto& [name, values] : values_of_)
      if (values > most) best = name, most = values;
    return std::string(best);
  }

 private:
  // A change that an adapter asks for.
  struct Wanted {
    const LowRankUpdate* update;
    const AppliedAdapter* applied;
    bool used;
  };

  Error bad(Code code, std::string sentence) const { return {code, file_.path().string() + ": " + std::move(sentence)}; }

  Status check_shape(Wanted& wanted, std::int64_t rows, std::int64_t columns) {
    const LowRankUpdate& update = *wanted.update;
    wanted.used = true;
    if (update.rows == rows && update.columns == columns) return {};
    return Error{Code::kBadShape, fmt::format("{}: tensor {} is of a matrix [{}, {}]; {} has [{}, {}] there", wanted.applied->adapter->place, update.tensor, update.columns,
                                              update.rows, file_.path().string(), columns, rows)};
  }

  Status add_updates(const Piece& piece, StackedMatrix& stacked) {
    const auto found = updates_.find(piece.adapted_as);
    if (found == updates_.end()) return {};
    const std::int64_t expert = piece.tensor->shape.size() > 2 ? piece.begin / piece.rows : -1;
    for (Wanted& wanted : found->second) {
      const LowRankUpdate& update = *wanted.update;
      if (update.expert != expert) continue;
      if (Status fits = check_shape(wanted, piece.rows, piece.tensor->columns()); !fits) return fits;
      auto a = WeightMatrix::pack_floats(family_, update.a, update.rank, update.columns, pool_);
      auto b = WeightMatrix::pack_floats(family_, update.b, update.rows, update.rank, pool_);
      if (!a || !b) return at(wanted.applied->adapter->place + ": tensor " + update.tensor, (a ? b : a).error());
      bytes_ += a->size_bytes() + b->size_bytes();
      stacked.updates.push_back({std::move(*a), std::move(*b), update.scale * wanted.applied->scale, stacked.rows});
    }
    return {};
  }

  static std::string text(const std::vector<std::int64_t>& shape) {
    std::string out = "[";
    for (const std::int64_t dimension : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(dimension);
    return out + "]";
  }

  const GgufFile& file_;
  const KernelFamily& family_;
  ThreadPool& pool_;
  bool release_pages_;
  std::set<std::string> used_;
  std::map<std::string, std::vector<Wanted>, std::less<>> updates_;  // by the tensor they change
  std::map<std::string_view, std::int64_t> values_of_;
  std::uint64_t bytes_ = 0;
};

// general.file_type, as GGUF numbers it.
std::string_view file_type_name(std::int64_t file_type) {
  static constexpr std::pair<int, std::string_view> kNames[] = {{0, "F32"}, {1, "F16"}, {2, "Q4_0"}, {3, "Q4_1"},
      {7, "Q8_0"}, {8, "Q5_0"}, {9, "Q5_1"}, {10, "Q2_K"}, {11, "Q3_K_S"}, {12, "Q3_K_M"}, {13, "Q3_K_L"}, {14, "Q4_K_S"},
      {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"}, {18, "Q6_K"}, {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"},
      {22, "IQ3_XS"}, {23, "IQ3_XXS"}, {24, "IQ1_S"}, {25, "IQ4_NL"}, {26, "IQ3_S"}, {27, "IQ3_M"}, {28, "IQ2_S"}, {29, "IQ2_M"},
      {30, "IQ4_XS"}, {31, "IQ1_M"}, {32, "BF16"}, {36, "TQ1_0"}, {37, "TQ2_0"}, {38, "MXFP4_MOE"}, {39, "NVFP4"}};
  for (const auto& [number, name] : kNames)
    if (number == file_type) return name;
  return "";
}

}  // namespace

void Model::embed(std::int32_t token, std::int64_t position, float* x) const {
  std::vector<std::byte> buffer;
  const auto row_of = [&](const GgufTensor& tensor, std::int64_t row, float* values) {
    const BlockFormat& blocks = *tensor.format;
    blocks.decode(file->rows(tensor, row, row + 1, buffer).data(), config.width / blocks.values_per_block, values);
  };
  row_of(*embedding, token, x);
  if (config.embedding_scale != 1)
    for (int i = 0; i < config.width; ++i) x[i] *= config.embedding_scale;
  if (!position_embedding) return;
  std::vector<float> learned(static_cast<std::size_t>(config.width));
  row_of(*position_embedding, position, learned.data());
  for (int i = 0; i < config.width; ++i) x[i] += learned[static_cast<std::size_t>(i)];
}

namespace {

// Puts a loaded part into its place; the first error stops everything behind it.
class Assembly {
 public:
  template <class Place, class Part>
  void put(Place& place, Result<Part> part) {
    if (!error_ && !part) error_ = part.error();
    if (!error_) place = std::move(*part);
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  std::optional<Error> error_;
};

// How positions enter: frequencies of the rotary pairs, or slopes.
Status load_positions(Model& model, Loader& load) {
  const ModelConfig& config = model.config;
  const auto divisors_of = [&](const std::string& name) -> Result<std::vector<float>> {
    auto divisors = load.vector(name, config.rotary_width / 2);
    if (!divisors) return divisors;
    for (const float value : *divisors)
      if (!(value > 0)) return Error{Code::kBadValue, fmt::format("{}: tensor {} has a value that is not positive", model.file->path().string(), name)};
    return divisors;
  };
  const auto frequencies = [&](std::span<const float> divisors) {
    return rotary_frequencies(config.rotary_width, config.rotary_base, config.rotary_scale, divisors);
  };
  if (config.long_rotary_context > 0) {
    const auto near = divisors_of("rope_factors_short.weight"), far = divisors_of("rope_factors_long.weight");
    if (!near || !far) return (near ? far : near).error();
    model.rotary_frequencies = frequencies(*near);
    model.long_rotary_frequencies = frequencies(*far);
  } else if (model.file->find_tensor("rope_freqs.weight")) {
    const auto divisors = divisors_of("rope_freqs.weight");
    if (!divisors) return divisors.error();
    model.rotary_frequencies = frequencies(*divisors);
  } else if (config.yarn_original_context > 0) {
    model.rotary_frequencies = yarn_frequencies(config.rotary_width, config.rotary_base, config.rotary_scale, config.yarn_original_context);
  } else {
    model.rotary_frequencies = frequencies({});
  }
  if (config.windowed_rotary_base > 0)
    model.windowed_rotary_frequencies = rotary_frequencies(config.rotary_width, config.windowed_rotary_base, 1, {});
  if (config.alibi_bias > 0) model.alibi_slopes = alibi_slopes(config.heads, config.alibi_bias);
  return {};
}

template <class Body>
void for_matrices(const LayerWeights& layer, const Body& body) {
  for (const StackedMatrix* matrix : {&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down}) body(*matrix);
  if (!layer.mixture) return;
  for (const auto* experts : {&layer.mixture->gate_up, &layer.mixture->down})
    for (const StackedMatrix& matrix : *experts) body(matrix);
  for (const StackedMatrix* matrix : {&layer.mixture->shared_gate_up, &layer.mixture->shared_down}) body(*matrix);
}

constexpr int kAllLayers = -1, kHead = -2;

// only: the layer of load_layer, or one of these.
Result<std::shared_ptr<const Model>> load_parts(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool,
                                                bool release_pages, int only, std::span<const AppliedAdapter> adapters = {}) {
  auto model = std::make_shared<Model>();
  auto config = read_model_config(*file);
  if (!config) return config.error();
  model->config = *config;
  model->file = file;
  model->family = &family;
  const std::int64_t C = config->width, F = config->feed_forward, V = config->vocabulary_tokens, D = config->head_width;
  const std::int64_t q_rows = config->heads * D, kv_rows = config->kv_heads * D;

  for (const AppliedAdapter& applied : adapters)
    if (applied.adapter->architecture != config->architecture)
      return Error{Code::kBadValue, fmt::format("{}: an adapter for the architecture {}; {} is {}", applied.adapter->place, applied.adapter->architecture, file->path().string(),
                                                config->architecture)};
  Loader load(*file, family, pool, release_pages, adapters);
  Assembly assembly;
  if (auto status = load_positions(*model, load); !status) return status.error();

  const auto has = [&](const std::string& name) { return file->find_tensor(name) != nullptr; };
  const auto put_norm = [&](NormWeights& place, const std::string& name, std::int64_t count) {
    assembly.put(place.weight, load.vector(name + ".weight", count));
    if (has(name + ".bias")) assembly.put(place.bias, load.vector(name + ".bias", count));
  };
  // Biases of several matrices over the same input, one behind the other; a matrix without one adds zeros.
  const auto put_biases = [&](std::vector<float>& place, const std::vector<std::pair<std::string, std::int64_t>>& names_and_rows) {
    std::vector<float> all;
    bool any = false;
    for (const auto& [name, rows] : names_and_rows) {
      std::vector<float> bias(static_cast<std::size_t>(rows), 0.0f);
      if (has(name + ".bias")) {
        assembly.put(bias, load.vector(name + ".bias", rows));
        any = true;
      }
      all.insert(all.end(), bias.begin(), bias.end());
    }
    if (any) place = std::move(all);
  };
  const auto put_stack = [&](StackedMatrix& matrices, std::vector<float>& biases, const std::vector<std::pair<std::string, std::int64_t>>& names_and_rows) {
    std::vector<std::pair<std::string, std::int64_t>> weights;
    for (const auto& [name, rows] : names_and_rows) weights.emplace_back(name + ".weight", rows);
    assembly.put(matrices, load.stack(weights, C));
    put_biases(biases, names_and_rows);
  };

  // The experts of one layer: three tensors of all experts, or, in old files, three tensors of each.
  const auto put_mixture = [&](MixtureWeights& mixture, const std::string& layer) {
    const std::int64_t E = config->experts, expert = config->expert_feed_forward, shared = config->shared_feed_forward;
    assembly.put(mixture.router, load.matrix(layer + "ffn_gate_inp.weight", E, C));
    const auto pieces = [&](const std::string& name, std::int64_t rows, std::int64_t columns) -> Result<std::vector<Loader::Piece>> {
      std::vector<Loader::Piece> all;
      if (!has(layer + name + "_exps.weight")) {
        for (std::int64_t e = 0; e < E; ++e) {
          const auto piece = load.whole(fmt::format("{}{}.{}.weight", layer, name, e), rows, columns);
          if (!piece) return piece.error();
          all.push_back(*piece);
        }
        return all;
      }
      const auto together = load.tensor(layer + name + "_exps.weight", {columns, rows, E});
      if (!together) return together.error();
      for (std::int64_t e = 0; e < E; ++e) all.push_back({*together, e * rows, rows, (*together)->name});
      return all;
    };
    std::vector<Loader::Piece> gates, ups, downs;
    assembly.put(gates, pieces("ffn_gate", expert, C));
    assembly.put(ups, pieces("ffn_up", expert, C));
    assembly.put(downs, pieces("ffn_down", C, expert));
    mixture.gate_up.resize(static_cast<std::size_t>(E));
    mixture.down.resize(static_cast<std::size_t>(E));
    for (std::size_t e = 0; e < mixture.down.size() && !assembly.error(); ++e) {
      assembly.put(mixture.gate_up[e], load.stack({gates[e], ups[e]}, C));
      assembly.put(mixture.down[e], load.stack({downs[e]}, expert));
    }
    if (shared == 0) return;
    assembly.put(mixture.shared_gate_up, load.stack({{layer + "ffn_gate_shexp.weight", shared}, {layer + "ffn_up_shexp.weight", shared}}, C));
    assembly.put(mixture.shared_down, load.matrix(layer + "ffn_down_shexp.weight", C, shared));
    if (!has(layer + "ffn_gate_inp_shexp.weight")) return;
    const auto gate = load.tensor(layer + "ffn_gate_inp_shexp.weight", {C});
    if (!gate) assembly.put(mixture.shared_gate, Result<StackedMatrix>(gate.error()));
    else assembly.put(mixture.shared_gate, load.stack(std::vector{Loader::Piece{*gate, 0, 1, (*gate)->name}}, C));
  };

  // The largest tensors first: while they are packed their mapped pages are resident beside the copy.
  if (only < 0) put_norm(model->output_norm, "output_norm", C);
  if (has("token_embd_norm.weight")) put_norm(model->embedding_norm, "token_embd_norm", C);
  if (only < 0) {
    assembly.put(model->output, load.output(V, C));
    put_biases(model->output_bias, {{"output", V}});
  }
  assembly.put(model->embedding, load.embedding("token_embd.weight", V, C));
  assembly.put(model->embedding_updates, load.embedding_updates(V, C));
  if (config->learned_positions) assembly.put(model->position_embedding, load.embedding("position_embd.weight", config->context_tokens, C));

  const int first_layer = std::max(only, 0), last_layer = only == kAllLayers ? config->layers : only == kHead ? 0 : only + 1;
  for (int index = first_layer; index < last_layer && !assembly.error(); ++index) {
    const auto name = [&](std::string_view rest) { return fmt::format("blk.{}.{}", index, rest); };
    LayerWeights layer;
    const std::string own_norm = name("attn_norm_2");  // Falcon 40B: of attention; attn_norm is then of the feed-forward
    if (has(own_norm + ".weight")) {
      put_norm(layer.attention_norm, own_norm, C);
      put_norm(layer.feed_forward_norm, name("attn_norm"), C);
    } else {
      const bool post_norms_only = !has(name("attn_norm.weight")) && has(name("post_attention_norm.weight"));
      if (!post_norms_only) put_norm(layer.attention_norm, name("attn_norm"), C);
      if (config->parallel_residual && !has(name("ffn_norm.weight"))) layer.feed_forward_norm = layer.attention_norm;
      else if (!post_norms_only) put_norm(layer.feed_forward_norm, name("ffn_norm"), C);
    }
    if (has(name("attn_qkv.weight"))) put_stack(layer.qkv, layer.qkv_bias, {{name("attn_qkv"), q_rows + 2 * kv_rows}});
    else put_stack(layer.qkv, layer.qkv_bias, {{name("attn_q"), q_rows}, {name("attn_k"), kv_rows}, {name("attn_v"), kv_rows}});
    for (auto& [norm, tensor, all] : {std::tuple(&layer.q_norm, name("attn_q_norm.weight"), q_rows), std::tuple(&layer.k_norm, name("attn_k_norm.weight"), kv_rows)})
      if (const GgufTensor* found = file->find_tensor(tensor))
        assembly.put(*norm, load.vector(tensor, found->columns() == D ? D : all));
    assembly.put(layer.attention_output, load.matrix(name("attn_output.weight"), C, q_rows));
    put_biases(layer.attention_output_bias, {{name("attn_output"), C}});
    if (has(name("post_attention_norm.weight"))) put_norm(layer.post_attention_norm, name("post_attention_norm"), C);
    const bool gated = config->feed_forward_kind != FeedForward::kGelu;
    const bool mixture = config->experts > 0 && has(name("ffn_gate_inp.weight"));
    if (mixture) put_mixture(layer.mixture.emplace(), name(""));
    else if (!gated) put_stack(layer.gate_up, layer.gate_up_bias, {{name("ffn_up"), F}});
    else if (!has(name("ffn_gate.weight"))) put_stack(layer.gate_up, layer.gate_up_bias, {{name("ffn_up"), 2 * F}});
    else put_stack(layer.gate_up, layer.gate_up_bias, {{name("ffn_gate"), F}, {name("ffn_up"), F}});
    if (!mixture) {
      assembly.put(layer.down, load.matrix(name("ffn_down.weight"), C, F));
      put_biases(layer.down_bias, {{name("ffn_down"), C}});
    }
    if (has(name("post_ffw_norm.weight"))) put_norm(layer.post_feed_forward_norm, name("post_ffw_norm"), C);
    model->layers.push_back(std::move(layer));
  }
  if (assembly.error()) return *assembly.error();
  for (const LayerWeights& layer : model->layers)
    for_matrices(layer, [&](const StackedMatrix& stacked) {
      for (const StackedMatrix::Part& part : stacked.parts) model->has_int8 = model->has_int8 || part.matrix.has_int8();
    });
  if (only != kAllLayers) {
    model->config.layers = only == kHead ? 0 : 1;
    model->config.windows = {only == kHead ? 0 : config->window_of(only)};
    return std::shared_ptr<const Model>(std::move(model));
  }
  if (auto status = load.all_used(); !status) return status.error();
  if (auto status = load.all_updates_used(); !status) return status.error();
  model->weights_bytes = load.bytes();
  model->format = load.main_format();
  if (const auto type = file->int_or("general.file_type", -1); type && !file_type_name(*type).empty())
    model->format = file_type_name(*type);
  else if (const auto source = file->string_or("quantfleet.source_format", ""); source && !source->empty())
    model->format = *source;  // of a Hugging Face checkpoint
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace

std::uint64_t weights_size(const GgufFile& file, const KernelFamily& family) {
  std::uint64_t bytes = 0;
  const bool tied = !file.find_tensor("output.weight");
  for (const GgufTensor& tensor : file.tensors()) {
    const bool embedding = tensor.name == "token_embd.weight";
    if (embedding || tensor.name == "position_embd.weight") bytes += tensor.size_bytes();  // stay in the file
    if (embedding ? tied : tensor.rows() > 1) bytes += WeightMatrix::packed_bytes(family, *tensor.format, tensor.rows(), tensor.columns());
    else if (tensor.rows() == 1) bytes += static_cast<std::uint64_t>(tensor.count_values()) * sizeof(float);
  }
  return bytes;
}

Result<std::shared_ptr<const Model>> load_model(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool,
                                                bool release_pages, std::span<const AppliedAdapter> adapters) {
  return load_parts(std::move(file), family, pool, release_pages, kAllLayers, adapters);
}

Result<std::shared_ptr<const Model>> load_layer(std::shared_ptr<const GgufFile> file, int layer, const KernelFamily& family, ThreadPool& pool) {
  return load_parts(std::move(file), family, pool, false, layer);
}

Result<std::shared_ptr<const Model>> load_head(std::shared_ptr<const GgufFile> file, const KernelFamily& family, ThreadPool& pool) {
  return load_parts(std::move(file), family, pool, false, kHead);
}

}  // namespace quantfleet
