// formats/adapter_parts.h: what the readers and writers of both kinds of adapter files share;
// internal to formats/.
//
// Owns: stored factors as f32 values, their checks, transposes between the files' [N, R] and the
// program's rank-first order. Not here: names and metadata (adapter_peft.cc, adapter_gguf.cc).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>

#include "formats/adapter_facts.h"
#include "formats/adapter_files.h"
#include "formats/tensor_source.h"

namespace dure {

// The two tensors of an addition as a file has them, by place in its list.
struct StoredPair {
  std::optional<size_t> a, b;
};

// One line naming a factor that stands without its other. `key` is the tensors' common beginning.
void require_both(const TensorSource& source, const StoredPair& pair, const std::string& key,
                  const char* a_suffix, const char* b_suffix);
// Throws kUnsupported where the tensors are not all of one plain type.
void require_one_type(const TensorSource& source);
// Throws kInvalidArgument where the tensor's shape is another than this base needs.
void require_shape(const TensorSource& source, size_t index, const Shape& wanted);
// In f32. Throws kCorrupt where a value is not finite.
std::vector<float> stored_values(const TensorSource& source, size_t index);

// [rows, columns] to [columns, rows].
std::vector<float> transposed(std::span<const float> values, int64_t rows, int64_t columns);

AdapterContent read_peft_adapter(const Path& folder, const ModelConfig& base);
AdapterContent read_gguf_adapter(const Path& file, const ModelConfig& base);
AdapterFacts peft_adapter_facts(const Path& folder);
AdapterFacts gguf_adapter_facts(const Path& file);

}  // namespace dure
