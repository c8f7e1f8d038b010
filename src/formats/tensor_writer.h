// formats/tensor_writer.h: what the writers of both containers do alike: tensors are announced with
// their places, then written in pieces, and the file appears whole or not at all.
//
// Not here: layouts and headers (safetensors.h, gguf.h).
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "base/file.h"
#include "formats/tensor_source.h"

namespace dure {

// Tensors in any order, each in pieces from its first byte. Nothing appears under the final name
// before commit().
class TensorWriter {
 public:
  void write(std::string_view name,
             ConstTensorView tensor);  // Checked: type and shape as announced.
  // Checked: inside, in order.
  void write_piece(std::string_view name, int64_t byte_offset, std::string_view bytes);
  void commit();  // Checked: every byte of every tensor was written.
  int64_t file_bytes() const { return file_bytes_; }

 protected:
  explicit TensorWriter(const Path& path) : file_(path), path_(path.string()) {}
  void announce(const TensorInfo& info, int64_t data_offset);  // Checked: once.
  void start(std::string_view header, int64_t data_bytes);     // The data follow the header.

 private:
  struct Slot {
    TensorInfo info;
    int64_t data_offset = 0, written = 0;
  };
  Slot& slot(std::string_view name);
  StagedFile file_;
  std::string path_;
  std::unordered_map<std::string, Slot> slots_;
  int64_t data_start_ = 0, file_bytes_ = 0;
};

}  // namespace dure
