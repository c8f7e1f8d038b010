// formats/gguf_keys.h: the keys of one architecture in a GGUF file as its reader asks for them, and
// the readers and writers by family; internal to formats/.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/model_config.h"

namespace dure {

// Keys of one file, with the architecture's prefix, naming file and key in errors.
class GgufKeys {
 public:
  GgufKeys(const GgufMetadata& metadata, std::string file, std::string prefix)
      : metadata_(metadata), file_(std::move(file)), prefix_(std::move(prefix)) {}

  const GgufValue* find(const std::string& key) const { return metadata_.find(prefix_ + key); }
  const GgufValue* global(const char* key) const { return metadata_.find(key); }
  std::string place(const std::string& key) const { return file_ + ": " + prefix_ + key; }
  const GgufValue& at(const std::string& key) const {
    if (const GgufValue* found = find(key)) return *found;
    fail(ErrorCode::kNotFound, "{}: no key '{}{}'", file_, prefix_, key);
  }
  int64_t integer(const std::string& key) const { return at(key).as_int(place(key)); }
  int64_t integer(const std::string& key, int64_t otherwise) const {
    return find(key) == nullptr ? otherwise : integer(key);
  }
  double number(const std::string& key) const { return at(key).as_double(place(key)); }
  bool boolean(const std::string& key) const { return at(key).as_bool(place(key)); }
  std::vector<int64_t> integers(const std::string& key, int64_t count) const {
    const std::vector<int64_t>& values = at(key).as_ints(place(key));
    if (static_cast<int64_t>(values.size()) < count)
      fail(ErrorCode::kInvalidArgument, "{} has {} entries, there are {} layers", place(key),
           values.size(), count);
    return values;
  }
  const std::string& file() const { return file_; }
  bool extended() const { return prefix_.starts_with("dure-"); }
  const std::string& prefix() const { return prefix_; }

 private:
  const GgufMetadata& metadata_;
  std::string file_, prefix_;
};

// Layers but those of MTP. Throws kInvalidArgument where there cannot be so many.
int64_t gguf_layer_count(const GgufKeys& k, int64_t mtp_layers);

// llama.cpp's "qwen3moe" and "gpt-oss": layers and their facts; sizes are there already, of which
// the layers have `each`.
void read_gguf_qwen3moe(const GgufKeys& k, const LayerFacts& each, ModelConfig& c);
void read_gguf_gpt_oss(const GgufKeys& k, const LayerFacts& each, ModelConfig& c);
// YaRN of either, or the plain rotation.
RopeFacts read_gguf_yarn(const GgufKeys& k, int64_t context_tokens);

// Their keys beside those of every architecture. Throw kUnsupported naming what llama.cpp computes
// in another way and has no key for.
void write_gguf_qwen3moe(const ModelConfig& c, const std::string& prefix, GgufMetadata& out);
void write_gguf_gpt_oss(const ModelConfig& c, const std::string& prefix, GgufMetadata& out);

}  // namespace dure
