// How long does opening a model take, and finding each of its tensors?
//
// usage: bench_open_model [FOLDER]: writes K-EXAONE-236B as a Hugging Face folder of 18,688 tensors
// in 5 GB shards whose data are holes (a few MB on disk) into FOLDER (default: a temporary one),
// then opens it, asks for every tensor, and binds the weights of a run.
#include <cstdio>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "formats/config_fixture.h"
#include "formats/hf_config.h"
#include "model/load.h"
#include "timing.h"

using namespace dure;

namespace {

constexpr int64_t kShardBytesMax = 5'000'000'000;

void write_shard(const Path& file, const std::vector<TensorInfo>& tensors) {
  const std::string header = safetensors_header(tensors);
  int64_t bytes = static_cast<int64_t>(header.size());
  for (const TensorInfo& info : tensors) bytes += info.bytes();
  write_file(file, header);
  std::filesystem::resize_file(file, static_cast<uintmax_t>(bytes));
}

std::vector<std::vector<TensorInfo>> shards_of(const ModelConfig& config) {
  std::vector<std::vector<TensorInfo>> shards(1);
  int64_t bytes = 0;
  for (const ImpliedTensor& tensor : implied_tensors(config)) {
    TensorInfo info{tensor.name, tensor.always_f32() ? DType::kF32 : DType::kBF16, tensor.shape};
    bytes += info.bytes();
    if (bytes > kShardBytesMax && !shards.back().empty()) {
      shards.emplace_back();
      bytes = info.bytes();
    }
    shards.back().push_back(std::move(info));
  }
  return shards;
}

void write_folder(const Path& folder, const ModelConfig& config) {
  make_folders(folder);
  write_file(folder / "config.json", write_hf_config(config).dump(1));
  const auto shards = shards_of(config);
  std::string map;
  for (size_t s = 0; s < shards.size(); ++s) {
    const std::string name =
        shard_name("model", static_cast<int64_t>(s), static_cast<int64_t>(shards.size()));
    write_shard(folder / name, shards[s]);
    for (const TensorInfo& info : shards[s])
      map += (map.empty() ? "" : ",") + fmt::format("\"{}\":\"{}\"", info.name, name);
  }
  write_file(folder / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
}

void say(const char* what, double seconds, int64_t count) {
  std::printf("%-34s %9.3f ms  %7.3f us a tensor\n", what, seconds * 1e3,
              seconds * 1e6 / static_cast<double>(count));
}

}  // namespace

int main(int argc, char** argv) {
  const TemporaryFolder temporary;
  const Path folder = (argc > 1 ? Path(argv[1]) : temporary.path()) / "k-exaone-236b";
  write_folder(folder, k_exaone_236b());
  const auto shared = std::make_shared<ModelFiles>(folder);
  const ModelFiles& files = *shared;
  const auto count = static_cast<int64_t>(files.tensors().size());
  say("containers (headers, index)", best_s(2, [&] { SafetensorsSet set(folder); }), count);
  say("implied tensors", best_s(1, [&] { implied_tensors(files.config()); }), count);
  say("model files, containers included", best_s(2, [&] { ModelFiles again(folder); }), count);
  const volatile void* seen = nullptr;
  say("every tensor by its id",
      best_s(1,
             [&] {
               for (const ImpliedTensor& tensor : files.tensors())
                 seen = files.tensor(tensor.id).data;
             }),
      count);
  DType type{};
  say("every tensor's type",
      best_s(1,
             [&] {
               for (const ImpliedTensor& tensor : files.tensors()) type = files.dtype(tensor.id);
             }),
      count);
  int64_t copied = 0;
  say("weights to run", best_s(1, [&] { copied = open_weights(shared).owned_bytes(); }), count);
  std::printf("%.1f GB stored, %.1f MB of it copied to run\n",
              static_cast<double>(files.stored_bytes()) * 1e-9, static_cast<double>(copied) * 1e-6);
  return seen == nullptr && type == DType::kF32;
}
