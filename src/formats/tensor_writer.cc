// Pieces go to their final offsets in a staged file. Tensors may come in any order, the pieces of
// one only in theirs.
#include "formats/tensor_writer.h"

#include "base/check.h"

namespace dure {

void TensorWriter::announce(const TensorInfo& info, int64_t data_offset) {
  const bool fresh = slots_.emplace(info.name, Slot{info, data_offset, 0}).second;
  DURE_CHECK(fresh, "tensor '{}' is announced twice", info.name);
}

void TensorWriter::start(std::string_view header, int64_t data_bytes) {
  file_.write(header);
  data_start_ = static_cast<int64_t>(header.size());
  file_bytes_ = data_start_ + data_bytes;
  if (data_bytes > 0)
    file_.write_at(file_bytes_ - 1, std::string_view("\0", 1));  // Padding after the last tensor.
}

TensorWriter::Slot& TensorWriter::slot(std::string_view name) {
  const auto found = slots_.find(std::string(name));
  DURE_CHECK(found != slots_.end(), "tensor '{}' was not announced", name);
  return found->second;
}

void TensorWriter::write(std::string_view name, ConstTensorView tensor) {
  const TensorInfo& info = slot(name).info;
  DURE_CHECK(info.dtype == tensor.dtype && info.shape == tensor.shape,
             "tensor '{}': {} {}, announced as {} {}", name, dtype_info(tensor.dtype).name,
             tensor.shape.text(), dtype_info(info.dtype).name, info.shape.text());
  write_piece(name, 0,
              {static_cast<const char*>(tensor.data), static_cast<size_t>(tensor.bytes())});
}

void TensorWriter::write_piece(std::string_view name, int64_t byte_offset, std::string_view bytes) {
  Slot& to = slot(name);
  const int64_t size = static_cast<int64_t>(bytes.size());
  DURE_CHECK(byte_offset == to.written && size <= to.info.bytes() - byte_offset,
             "tensor '{}': piece {}+{} of {}, {} written", name, byte_offset, size, to.info.bytes(),
             to.written);
  file_.write_at(data_start_ + to.data_offset + byte_offset, bytes);
  to.written += size;
}

void TensorWriter::commit() {
  for (const auto& [name, slot] : slots_) {
    DURE_CHECK(slot.written == slot.info.bytes(), "{}: tensor '{}' has {} of {} bytes", path_, name,
               slot.written, slot.info.bytes());
  }
  file_.commit();
}

}  // namespace dure
