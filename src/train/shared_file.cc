// Every rank lays the file out alike and writes at the offsets of its tensors.
#include "train/shared_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/error.h"
#include "formats/safetensors.h"
#include "tensor/host_array.h"

namespace dure {
namespace {

std::vector<TensorInfo> infos_of(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorInfo> infos;
  for (const NamedTensor& t : tensors) infos.push_back({t.name, t.view.dtype, t.file_shape()});
  return in_file_order(std::move(infos));
}

std::string header_of(const std::vector<TensorInfo>& infos) {
  return safetensors_header(infos, {{"format", "pt"}});
}

class OpenFile {
 public:
  OpenFile(const Path& path, int flags) : path_(path), file_(::open(path.c_str(), flags, 0644)) {
    if (file_ < 0) fail_errno("cannot write " + path_.string());
  }
  ~OpenFile() { ::close(file_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  void write_at(int64_t offset, const char* bytes, size_t count) {
    while (count > 0) {
      const ssize_t wrote = ::pwrite(file_, bytes, count, offset);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) fail_errno("cannot write " + path_.string());
      bytes += wrote;
      offset += wrote;
      count -= static_cast<size_t>(wrote);
    }
  }
  void resize(int64_t bytes) {
    if (::ftruncate(file_, bytes) != 0) fail_errno("cannot write " + path_.string());
  }
  void sync() {
    if (::fsync(file_) != 0) fail_errno("cannot write " + path_.string());
  }

 private:
  Path path_;
  int file_;
};

const NamedTensor& named(const std::vector<NamedTensor>& tensors, const std::string& name) {
  for (const NamedTensor& t : tensors)
    if (t.name == name) return t;
  fail(ErrorCode::kNotFound, "no tensor {}", name);
}

}  // namespace

void create_shared_file(const Path& path, const std::vector<NamedTensor>& tensors) {
  const std::vector<TensorInfo> infos = infos_of(tensors);
  const std::string header = header_of(infos);
  int64_t bytes = std::ssize(header);
  for (const TensorInfo& info : infos) bytes += info.bytes();
  OpenFile file(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC);
  file.write_at(0, header.data(), header.size());
  file.resize(bytes);
  file.sync();
}

void write_shared_file(const Path& path, const std::vector<NamedTensor>& tensors, Stream* stream) {
  const std::vector<TensorInfo> infos = infos_of(tensors);
  OpenFile file(path, O_WRONLY | O_CLOEXEC);
  Buffer room;
  int64_t offset = std::ssize(header_of(infos));
  for (size_t i = 0; i < infos.size(); ++i) {
    // Tensors are in the file's order already where all are of one type.
    const NamedTensor& t =
        tensors[i].name == infos[i].name ? tensors[i] : named(tensors, infos[i].name);
    if (!t.elsewhere) {
      const ConstTensorView there = stream == nullptr ? t.view : on_host(t.view, room, *stream);
      const std::string_view bytes = host_bytes(there);
      const int64_t before = std::ssize(bytes) / t.view.dim(0) * t.first_row;
      file.write_at(offset + before, bytes.data(), bytes.size());
    }
    offset += infos[i].bytes();
  }
  file.sync();
}

}  // namespace dure
