// A model written as a Hugging Face folder and opened again is the same model: masters, mapped
// weights, and forward bits, however its files have the experts.
#include "model/load.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "formats/config_fixture.h"
#include "formats/gguf_model.h"
#include "formats/hf_config.h"
#include "model/adapter_fixture.h"
#include "model/bf16_copies.h"
#include "model/merge.h"
#include "model/train_pass.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

ModelConfig small_config() { return tiny_config(61, 4); }

TEST(Load, FolderRoundTripIsExact) {
  CpuStream stream(2);
  Parameters parameters(small_config());
  parameters.initialise(3, stream);
  const TemporaryFolder folder;
  write_hf_folder(folder.path() / "m", parameters.config(), {}, *provide(parameters));
  const auto files = std::make_shared<ModelFiles>(folder.path() / "m");
  Parameters again(files->config());
  load_parameters(*files, again, stream);
  ASSERT_EQ(again.flat().bytes(), parameters.flat().bytes());
  EXPECT_EQ(std::memcmp(again.flat().data, parameters.flat().data,
                        static_cast<size_t>(again.flat().bytes())),
            0);

  const ModelWeights mapped = open_weights(files);
  const WeightView& down = mapped.layers[2].expert_down;
  for (int64_t e = 0; e < 4; ++e) {
    const TensorView one = parameters.view({TensorRole::kExpertDown, 2, e});
    EXPECT_EQ(std::memcmp(down.parts[e], one.data, static_cast<size_t>(one.bytes())), 0) << e;
  }
  EXPECT_EQ(mapped.owned_bytes(), 0);
}

struct Stored {
  TensorInfo info;
  std::string bytes;
};

std::string bytes_of(ConstTensorView view) {
  return {static_cast<const char*>(view.data), static_cast<size_t>(view.bytes())};
}

std::vector<Stored> one_by_one(const ModelFiles& files) {
  std::vector<Stored> out;
  for (const ImpliedTensor& tensor : files.tensors()) {
    const ConstTensorView view = files.tensor(tensor.id);
    out.push_back({{tensor.name, view.dtype, view.shape}, bytes_of(view)});
  }
  return out;
}

// All experts of the roles, expert after expert.
Stored joined(const ModelFiles& files, int64_t layer, const std::string& name,
              std::initializer_list<TensorRole> roles) {
  Stored out;
  ConstTensorView view;
  const int64_t experts = files.config().layer(layer).experts.count;
  for (int64_t e = 0; e < experts; ++e) {
    for (const TensorRole role : roles) {
      view = files.tensor({role, layer, e});
      out.bytes += bytes_of(view);
    }
  }
  const int64_t rows = view.dim(0) * std::ssize(roles);
  out.info = {name, view.dtype, {experts, rows, view.dim(1)}};
  return out;
}

std::vector<Stored> fused(const ModelFiles& files) {
  std::vector<Stored> out = one_by_one(files);
  std::erase_if(out, [](const Stored& stored) {
    return stored.info.name.find(".experts.") != std::string::npos;
  });
  for (int64_t layer = 0; layer < files.config().layer_count(); ++layer) {
    if (!files.config().layer(layer).sparse) continue;
    const std::string prefix = fmt::format("model.layers.{}.mlp.experts.", layer);
    out.push_back(joined(files, layer, prefix + "gate_up_proj",
                         {TensorRole::kExpertGate, TensorRole::kExpertUp}));
    out.push_back(joined(files, layer, prefix + "down_proj", {TensorRole::kExpertDown}));
  }
  return out;
}

// Experts in FP8 with a scale each; their values are new ones.
std::vector<Stored> fp8(const ModelFiles& files) {
  std::vector<Stored> out = one_by_one(files);
  for (size_t i = 0, n = out.size(); i < n; ++i) {
    if (out[i].info.name.find(".experts.") == std::string::npos) continue;
    out[i].info.dtype = DType::kF8E4M3;
    out[i].bytes.resize(static_cast<size_t>(out[i].info.elements()));
    for (size_t k = 0; k < out[i].bytes.size(); ++k)
      out[i].bytes[k] = static_cast<char>((i + k * 37) % 120 + (k % 3 == 0 ? 128 : 0));
    const float scale = 0.002f;
    out.push_back({{out[i].info.name + "_scale", DType::kF32, {1}},
                   std::string(reinterpret_cast<const char*>(&scale), sizeof(scale))});
  }
  return out;
}

// A byte before everything else: no address fits its type any more.
std::vector<Stored> misaligned(const ModelFiles& files) {
  std::vector<Stored> out = one_by_one(files);
  out.insert(out.begin(), {{"model.layers.0.self_attn.k_scale", DType::kU8, {1}}, "x"});
  return out;
}

void write_folder(const Path& folder, const ModelConfig& config,
                  const std::vector<Stored>& tensors) {
  std::vector<TensorInfo> infos;
  std::string data;
  for (const Stored& tensor : tensors) {
    infos.push_back(tensor.info);
    data += tensor.bytes;
  }
  make_folders(folder);
  write_file(folder / "config.json", write_hf_config(config).dump());
  write_file(folder / "model.safetensors", safetensors_header(infos) + data);
}

void write_gguf(const Path& path, const ModelFiles& files) {
  const ModelConfig& config = files.config();
  std::vector<Stored> tensors;
  for (const ImpliedTensor& tensor : implied_stacks(config)) {
    const std::string name = gguf_name(tensor.id, config);
    if (is_expert(tensor.id.role)) {
      tensors.push_back(joined(files, tensor.id.layer, name, {tensor.id.role}));
    } else {
      const ConstTensorView view = files.tensor(tensor.id);
      tensors.push_back({{name, view.dtype, view.shape}, bytes_of(view)});
    }
  }
  std::vector<TensorInfo> infos;
  for (const Stored& tensor : tensors) infos.push_back(tensor.info);
  GgufWriter writer(path, gguf_config(config), infos);
  for (const Stored& tensor : tensors) writer.write_piece(tensor.info.name, 0, tensor.bytes);
  writer.commit();
}

std::vector<float> logits_of(const ModelWeights& weights, Stream& stream) {
  const std::vector<int32_t> ids = {3, 14, 15, 9, 26, 5, 35, 8, 9, 7, 9, 32};
  const std::vector<int32_t> targets(ids.size(), kIgnore);
  const std::vector<int64_t> lengths = {7, 5};
  const int64_t rows = std::ssize(ids), vocab = weights.config.vocab_size;
  TrainPass pass(weights.config, {.rows_max = rows});
  pass.forward(weights, {.ids = ids, .targets = targets, .document_lengths = lengths}, stream);
  std::vector<float> logits(static_cast<size_t>(rows * vocab));
  head_logits(weights, pass.hidden(), host_view(logits.data(), {rows, vocab}), stream);
  return logits;
}

// The logits of the files' weights in place; checked against those of copied and widened ones, and
// what is copied nevertheless against what was promised.
std::vector<float> check_in_place(const Path& path, int64_t copied_bytes) {
  CpuStream stream(2);
  const auto files = std::make_shared<ModelFiles>(path);
  const ModelWeights in_place = open_weights(files);
  EXPECT_EQ(in_place.owned_bytes(), copied_bytes) << path;
  EXPECT_EQ(open_weights_bytes(*files).copied, copied_bytes) << path;
  Parameters parameters(files->config());
  load_parameters(*files, parameters, stream);
  const std::vector<float> logits = logits_of(in_place, stream);
  EXPECT_EQ(logits, logits_of(bind_weights(parameters, stream), stream)) << path;
  return logits;
}

// What `files` holds: bytes of tensors that are not F32 vectors, and those vectors as f32.
struct Sizes {
  int64_t stored = 0, widened = 0, experts = 0;
};
Sizes sizes_of(const ModelFiles& files) {
  Sizes out;
  for (const ImpliedTensor& tensor : files.tensors()) {
    const ConstTensorView view = files.tensor(tensor.id);
    out.stored += view.bytes();
    if (view.shape.rank() == 1 && view.dtype != DType::kF32) out.widened += 4 * view.elements();
    if (is_expert(tensor.id.role)) out.experts += view.elements();
  }
  return out;
}

TEST(Load, ExpertsAreUsedWhereTheyLie) {
  CpuStream stream(2);
  Parameters parameters(small_config());
  parameters.initialise(3, stream);
  const TemporaryFolder folder;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Path at = folder.path() / std::string(dtype_info(dtype).name);
    write_hf_folder(at / "m", parameters.config(), {}, *provide(parameters), {.dtype = dtype});
    const ModelFiles files(at / "m");
    const Sizes sizes = sizes_of(files);
    EXPECT_EQ(sizes.widened > 0, dtype != DType::kF32);
    const std::vector<float> logits = check_in_place(at / "m", sizes.widened);
    EXPECT_EQ(open_weights_bytes(files).mapped, sizes.stored - sizes.widened / 2);

    write_folder(at / "fused", files.config(), fused(files));
    EXPECT_EQ(check_in_place(at / "fused", sizes.widened), logits);
    write_gguf(at / "m.gguf", files);
    EXPECT_EQ(check_in_place(at / "m.gguf", sizes.widened), logits);
    write_folder(at / "misaligned", files.config(), misaligned(files));
    EXPECT_EQ(check_in_place(at / "misaligned", sizes.stored + sizes.widened), logits);
    write_folder(at / "fp8", files.config(), fp8(files));
    EXPECT_NE(check_in_place(at / "fp8", 2 * sizes.experts + sizes.widened), logits);
  }
}

// An adapter on every matrix beside the files' weights: the forward's log-probabilities, the
// gradient of every factor, and each merged matrix, one after another.
std::vector<float> adapted(const Path& path) {
  CpuStream stream(2);
  const auto files = std::make_shared<ModelFiles>(path);
  ModelWeights weights = open_weights(files);
  const auto values = random_adapter(weights.config, 3,
                                     {LoraTarget::kAttention, LoraTarget::kDense,
                                      LoraTarget::kShared, LoraTarget::kExperts, LoraTarget::kHead},
                                     5, 0.1, stream);
  const auto adapter = std::make_shared<const ModelAdapter>(values->bind());
  weights.adapter = adapter;
  AdapterParameters gradients(weights.config, values->layout());
  const ModelAdapterGradients places = gradients.by_place();
  ModelGradients frozen;
  frozen.layers.resize(weights.config.layers.size());
  const std::vector<int32_t> ids = {3, 14, 15, 9, 26, 5, 35, 8},
                             targets = {14, 15, 9, 26, 5, 35, 8, 3};
  const std::vector<int64_t> lengths = {8};
  TrainPass pass(weights.config, {.rows_max = 8, .mtp = false, .adapter_rank = 3});
  pass.forward(weights, {.ids = ids, .targets = targets, .document_lengths = lengths}, stream);
  pass.token_log_probabilities(/*want_entropy=*/false, stream);
  std::vector<float> out(pass.log_probability().begin(), pass.log_probability().end());
  pass.backward({.valid_count = 8}, frozen, stream, &places);
  out.insert(out.end(), gradients.flat().f32(),
             gradients.flat().f32() + gradients.flat().elements());
  AdapterMerger merger(adapter, files->config());
  for (const ImpliedTensor& tensor : files->tensors()) {
    if (!merger.changes(tensor.id)) continue;
    const ConstTensorView merged = merger.merged(tensor.id, files->tensor(tensor.id));
    out.insert(out.end(), static_cast<const float*>(merged.data),
               static_cast<const float*>(merged.data) + merged.elements());
  }
  return out;
}

TEST(Load, AdaptersAddToExpertsInEveryStoredForm) {
  CpuStream stream(2);
  Parameters parameters(small_config());
  parameters.initialise(3, stream);
  const TemporaryFolder folder;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Path at = folder.path() / std::string(dtype_info(dtype).name);
    write_hf_folder(at / "m", parameters.config(), {}, *provide(parameters), {.dtype = dtype});
    const ModelFiles files(at / "m");
    write_folder(at / "fused", files.config(), fused(files));
    write_gguf(at / "m.gguf", files);
    const std::vector<float> one_by_one = adapted(at / "m");
    for (const char* form : {"fused", "m.gguf"})
      EXPECT_EQ(adapted(at / form), one_by_one) << form;
  }
}

// A BF16 file in place, and a trainer's copies of the same weights: the same products.
TEST(Load, Bf16MultipliesInPlaceAsATrainersCopiesDo) {
  CpuStream stream(2);
  for (const bool tied : {false, true}) {
    ModelConfig config = small_config();
    config.tied_embeddings = tied;
    Parameters parameters(config);
    parameters.initialise(3, stream);
    const TemporaryFolder folder;
    const Path at = folder.path() / "m";
    write_hf_folder(at, config, {}, *provide(parameters), {.dtype = DType::kBF16});
    const auto files = std::make_shared<ModelFiles>(at);
    const ModelWeights in_place = open_weights(files, Arithmetic::kBf16);
    EXPECT_EQ(in_place.layers[0].q.arithmetic, Arithmetic::kBf16);
    EXPECT_EQ(in_place.head.arithmetic, Arithmetic::kBf16);
    load_parameters(*files, parameters, stream);
    const Bf16Copies copies(parameters, stream);
    ModelWeights trained = bind_weights(parameters, stream);
    copies.bind(trained);
    const std::vector<float> logits = logits_of(in_place, stream);
    EXPECT_EQ(logits, logits_of(trained, stream)) << tied;
    EXPECT_NE(logits, logits_of(open_weights(files), stream)) << tied;
  }
}

TEST(Load, Bf16IsRefusedForOtherTypes) {
  CpuStream stream(1);
  Parameters parameters(small_config());
  const TemporaryFolder folder;
  write_hf_folder(folder.path() / "m", parameters.config(), {}, *provide(parameters));
  const auto files = std::make_shared<ModelFiles>(folder.path() / "m");
  try {
    open_weights(files, Arithmetic::kBf16);
    FAIL() << "F32 weights";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    const std::string text = error.what();
    for (const char* part : {"q_proj", "F32", "exact"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(Load, RefusesAnotherShape) {
  CpuStream stream(1);
  Parameters parameters(small_config());
  const TemporaryFolder folder;
  write_hf_folder(folder.path() / "m", parameters.config(), {}, *provide(parameters));
  ModelConfig other = small_config();
  other.vocab_size = 62;
  Parameters wrong(other);
  EXPECT_THROW(load_parameters(ModelFiles(folder.path() / "m"), wrong, stream), Error);
}

}  // namespace
}  // namespace dure
