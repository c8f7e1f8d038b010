// Files by their names and XXH64; of a sharded model the index stands for its shards.
#include "cli/model_identity.h"

#include "base/error.h"
#include "base/hash.h"
#include "formats/hf_config.h"
#include "formats/tensor_names.h"

namespace dure {

std::string model_files_hash(const ModelFiles& files) {
  std::string text;
  const auto add = [&](const Path& path) {
    text += fmt::format("|{}:{:x}", path.filename().string(), xxh64(MappedFile(path).text()));
  };
  if (!std::filesystem::is_directory(files.path())) add(files.path());  // GGUF
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "tokenizer.json",
                           "chat_template.jinja", "config.json"}) {
    if (path_exists(files.path() / name)) add(files.path() / name);
  }
  return fmt::format("{:016x}", xxh64(text));
}

Json shape_of(const ModelConfig& c) {
  const ModelCounts counts = count_model(c);
  Json shape = Json::object();
  shape["parameters"] = counts.parameters;
  shape["active_parameters"] = counts.active;
  shape["layers"] = c.layer_count();
  if (c.mtp_layer_count > 0) shape["mtp_layers"] = c.mtp_layer_count;
  shape["hidden"] = c.hidden_size;
  shape["heads"] = c.head_count;
  shape["kv_heads"] = c.kv_head_count;
  shape["head_width"] = c.head_width;
  if (c.sparse_layer_count() > 0) {
    const ExpertFacts& experts = common_experts(c);
    shape["experts"] = experts.count;
    shape["experts_per_token"] = experts.per_token;
    shape["shared_experts"] = experts.shared_count;
  }
  shape["vocabulary"] = c.vocab_size;
  shape["context_tokens"] = c.context_tokens;
  return shape;
}

}  // namespace dure
