// A model written as a Hugging Face folder and opened again is the same model: masters, mapped
// weights, and forward bits.
#include "model/load.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

ModelConfig small_config() {
  ModelConfig c;
  c.vocab_size = 61, c.hidden_size = 32, c.head_count = 4, c.kv_head_count = 2, c.head_width = 8;
  c.dense_width = 48, c.expert_width = 16, c.expert_count = 4, c.experts_per_token = 2,
  c.shared_expert_count = 1;
  c.mtp_layer_count = 1;
  for (int i = 0; i < 4; ++i)
    c.layers.push_back({.window_tokens = i == 3 ? 0 : 4, .rotary = i != 3, .sparse = i > 0});
  return c;
}

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
  const ModelWeights bound = bind_weights(parameters, stream);
  EXPECT_EQ(
      std::memcmp(mapped.layers[2].expert_down.data.data, bound.layers[2].expert_down.data.data,
                  static_cast<size_t>(bound.layers[2].expert_down.data.bytes())),
      0);
  // Only the stacks of the three sparse layers are copies.
  EXPECT_EQ(mapped.owned_bytes(), 3 * 3 * bound.layers[2].expert_down.data.bytes());
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
