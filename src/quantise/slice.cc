// Shapes to a configuration, its tensors to types, each tensor in stretches that all threads fill.
#include "quantise/slice.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "formats/gguf.h"
#include "formats/gguf_model.h"
#include "quantise/random_rows.h"

namespace dure {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20, kStretchPieces = 16;

// "F32, F16, BF16, Q4_0, ..."
std::string names_of_types() {
  std::string out;
  for (int i = 0; i <= static_cast<int>(DType::kQ2_0); ++i) {
    const auto dtype = static_cast<DType>(i);
    if (has_random_rows(dtype))
      out += (out.empty() ? "" : ", ") + std::string(dtype_info(dtype).name);
  }
  return out;
}

std::optional<DType> find_type(const std::string& name) {
  const std::optional<DType> dtype = dtype_from_name(name);
  return dtype && has_random_rows(*dtype) ? dtype : std::nullopt;
}

DType head_of(DType base) {
  const bool small = is_block(base) && base != DType::kQ8_0;
  return small ? DType::kQ6_K : base;
}

TypeRule head_rule(DType type) {
  TypeRule rule;
  rule.role = "head";
  rule.type = type;
  rule.where = "--head-type";
  return rule;
}

// A type's name is that type everywhere; what is none, "Q4_K_M", is a mixture.
TypeChoiceOptions choice_of(const std::string& type) {
  const std::optional<DType> one = find_type(type);
  if (!one) return {.mixture = find_mixture(type)};
  return {.mixture = {dtype_info(*one).name, *one, gguf_file_type(*one), ""},
          .rules = {head_rule(head_of(*one))},
          .pure = true};
}

class SliceWriter {
 public:
  SliceWriter(const SliceJob& job, Stream& stream, const std::function<void(int64_t)>& progress)
      : job_(job),
        stream_(stream),
        progress_(progress),
        writer_(job.out, metadata(), infos()),
        stretch_(kPieceBytes * kStretchPieces) {}

  void run() {
    const InterruptScope scope;
    for (size_t i = 0; i < job_.types.choices.size(); ++i) one_tensor(i);
    writer_.commit();
  }

 private:
  GgufMetadata metadata() const {
    GgufMetadata out = gguf_config(job_.config);
    out.set("general.name", GgufValue::string("synthetic: true shapes, random weights"));
    out.set("general.file_type", GgufValue::u32(job_.types.file_type));
    out.set("general.quantization_version", GgufValue::u32(2));
    out.set("tokenizer.ggml.model", GgufValue::string("none"));
    return out;
  }

  std::vector<TensorInfo> infos() const {
    std::vector<TensorInfo> out;
    for (const TypeChoice& choice : job_.types.choices) out.push_back(choice.info);
    return out;
  }

  void one_tensor(size_t index) {
    const TensorInfo& info = job_.types.choices[index].info;
    const int64_t block = dtype_info(info.dtype).block_bytes, piece = kPieceBytes / block * block;
    for (int64_t at = 0; at < info.bytes(); at += piece * kStretchPieces) {
      throw_if_interrupted("nothing was written; start again");
      const int64_t count = std::min(piece * kStretchPieces, info.bytes() - at);
      fill(index, at, piece, std::span(stretch_).first(static_cast<size_t>(count)));
      writer_.write_piece(
          info.name, at,
          {reinterpret_cast<const char*>(stretch_.data()), static_cast<size_t>(count)});
      done_ += count;
      progress_(done_);
    }
  }

  // The bytes from `first` on of a tensor. A piece depends on its place alone, not on threads.
  void fill(size_t index, int64_t first, int64_t piece, std::span<uint8_t> out) {
    const TypeChoice& choice = job_.types.choices[index];
    const TensorKind kind = role_kind(choice.id.role);
    if (is_vector(kind)) return fill_constant(kind == TensorKind::kNorm ? 1.0f : 0.0f, out);
    const double rms = 1 / std::sqrt(static_cast<double>(choice.info.shape.back()));
    const int64_t size = std::ssize(out);
    stream_.host_threads().parallel_for((size + piece - 1) / piece, [&](int64_t p, int) {
      const int64_t at = p * piece;
      const uint64_t key = stream_id("slice", index, static_cast<uint64_t>(first + at));
      fill_random(
          choice.info.dtype, rms, key ^ job_.seed * 0x9E3779B97F4A7C15,
          out.subspan(static_cast<size_t>(at), static_cast<size_t>(std::min(piece, size - at))));
    });
  }

  // Norms and biases are F32 in every file.
  static void fill_constant(float value, std::span<uint8_t> out) {
    for (size_t at = 0; at < out.size(); at += sizeof(value))
      std::memcpy(&out[at], &value, sizeof(value));
  }

  const SliceJob& job_;
  Stream& stream_;
  const std::function<void(int64_t)>& progress_;
  GgufWriter writer_;
  std::vector<uint8_t> stretch_;
  int64_t done_ = 0;
};

}  // namespace

ModelConfig slice_config(const SliceShape& s) {
  if (s.layers < 1)
    fail(ErrorCode::kInvalidArgument,
         "--layers {}: give at least 1; the first is dense, the others have experts", s.layers);
  if (s.window_tokens < 1)
    fail(ErrorCode::kInvalidArgument, "--window {}: give at least 1 token", s.window_tokens);
  if (s.pattern.empty() || s.pattern.find_first_not_of("LG") != std::string::npos)
    fail(ErrorCode::kInvalidArgument,
         "--pattern '{}': give letters L (sliding) and G (global), such as LLLG or G", s.pattern);
  ModelConfig c;
  c.vocab_size = s.vocabulary;
  c.hidden_size = s.hidden_size;
  c.head_count = s.heads;
  c.kv_head_count = s.kv_heads;
  c.head_width = s.head_width;
  c.context_tokens = s.context_tokens;
  c.eos_tokens = {0};
  LayerFacts each;
  each.dense_width = s.dense_width;
  each.experts = {.count = s.experts,
                  .per_token = s.experts_per_token,
                  .width = s.expert_width,
                  .shared_count = s.shared_experts,
                  .scale = 2.5};
  for (int64_t i = 0; i < std::min<int64_t>(s.layers, 1 << 16); ++i) {
    each.sparse = i > 0;
    const bool global = s.pattern[static_cast<size_t>(i) % s.pattern.size()] == 'G';
    each.window_tokens = global ? 0 : s.window_tokens;
    each.rope.kind = global ? RopeKind::kNone : RopeKind::kPlain;
    c.layers.push_back(each);
  }
  c.mtp_layer = each;
  c.mtp_layer.sparse = false;
  check_config(c, "--make-slice");
  return c;
}

SliceTypes slice_types(const ModelConfig& config, const std::string& type,
                       const std::optional<std::string>& head_type) {
  TypeChoiceOptions options = choice_of(type);
  if (head_type) {
    const std::optional<DType> head = find_type(*head_type);
    if (!head)
      fail(ErrorCode::kInvalidArgument, "--head-type '{}': give one of {}", *head_type,
           names_of_types());
    options.rules = {head_rule(*head)};
  }
  return {.choices = choose_types(config, options), .file_type = options.mixture.file_type};
}

int64_t SliceJob::bytes() const {
  int64_t out = 0;
  for (const TypeChoice& choice : types.choices) out += choice.info.bytes();
  return out;
}

void write_slice(const SliceJob& job, Stream& stream,
                 const std::function<void(int64_t)>& progress) {
  check_free_space(job.out, job.bytes());
  SliceWriter(job, stream, progress).run();
}

}  // namespace dure
