// Plain, zstd and gzip bytes behind one read(), and lines cut from them. gzip goes through libxml2,
// which HTML needs anyway; what it fails to notice, GzipSource checks.
#include "data/input.h"

#include <fcntl.h>
#include <libxml/xmlIO.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace dure {
namespace {

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(const Path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail_errno("cannot read " + path.string());
    struct stat status {};
    if (::fstat(descriptor_, &status) == 0 && S_ISDIR(status.st_mode)) {
      ::close(descriptor_);
      fail(ErrorCode::kInvalidArgument, "cannot read {}: it is a folder, a file is needed",
           path.string());
    }
  }
  ~PlainSource() override { ::close(descriptor_); }
  size_t read(std::span<char> into) override {
    while (true) {
      const ssize_t count = ::read(descriptor_, into.data(), into.size());
      if (count >= 0) return static_cast<size_t>(count);
      if (errno != EINTR) fail_errno("cannot read " + path_.string());
    }
  }

 private:
  Path path_;
  int descriptor_;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(const Path& path)
      : path_(path), file_(path), input_(1 << 17), stream_(ZSTD_createDStream()) {}
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }
  size_t read(std::span<char> into) override {
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size) {
        in_ = {input_.data(), file_.read(input_), 0};
        if (in_.size == 0) {
          if (inside_frame_)
            fail(ErrorCode::kCorrupt, "{}: the zstd file ends inside a frame: it is truncated",
                 path_.string());
          return 0;
        }
      }
      const size_t left = ZSTD_decompressStream(stream_, &out, &in_);
      if (ZSTD_isError(left))
        fail(ErrorCode::kCorrupt, "{}: damaged zstd file: {}", path_.string(),
             ZSTD_getErrorName(left));
      inside_frame_ = left != 0;
    }
    return out.pos;
  }

 private:
  Path path_;
  PlainSource file_;
  std::vector<char> input_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  ZSTD_DStream* stream_;
  bool inside_frame_ = false;
};

// libxml2's reader decompresses gzip, but takes a truncated file for a short one: so the length
// stated in the last four bytes (RFC 1952: size modulo 2^32) is compared at the end.
class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const Path& path) : path_(path) {
    std::string head(2, '\0');
    PlainSource file(path);
    if (file.read(head) != 2 || head != "\x1f\x8b")
      fail(ErrorCode::kCorrupt, "{}: not a gzip file, although its name ends in .gz",
           path.string());
    const MappedFile map(path);
    if (map.bytes().size() >= 18)
      std::memcpy(&stated_size_, map.bytes().data() + map.bytes().size() - 4, 4);
    // Its own words on standard error say less than ours.
    xmlSetStructuredErrorFunc(nullptr, [](void*, xmlErrorPtr) {});
    input_ = xmlParserInputBufferCreateFilename(path.c_str(), XML_CHAR_ENCODING_NONE);
    if (input_ == nullptr) fail(ErrorCode::kIo, "cannot read {}", path.string());
  }
  ~GzipSource() override { xmlFreeParserInputBuffer(input_); }
  size_t read(std::span<char> into) override {
    const int length = static_cast<int>(std::min<size_t>(into.size(), 1 << 20));
    const int count = input_->readcallback(input_->context, into.data(), length);
    if (count < 0) fail(ErrorCode::kCorrupt, "{}: damaged gzip file", path_.string());
    size_ += static_cast<uint64_t>(count);
    if (count == 0 && static_cast<uint32_t>(size_) != stated_size_) {
      fail(ErrorCode::kCorrupt,
           "{}: the gzip file holds {} bytes but states {}: it is truncated, or several files "
           "joined (decompress it first)",
           path_.string(), size_, stated_size_);
    }
    return static_cast<size_t>(count);
  }

 private:
  Path path_;
  xmlParserInputBufferPtr input_;
  uint32_t stated_size_ = 0;
  uint64_t size_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> open_input(const Path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".zst") return std::make_unique<ZstdSource>(path);
  if (extension == ".gz") return std::make_unique<GzipSource>(path);
  return std::make_unique<PlainSource>(path);
}

std::string read_input(const Path& path) {
  constexpr size_t kSizeMax = size_t{2} << 30;
  const auto source = open_input(path);
  std::string content;
  std::vector<char> piece(1 << 18);
  while (const size_t count = source->read(piece)) {
    content.append(piece.data(), count);
    if (content.size() > kSizeMax)
      fail(ErrorCode::kUnsupported, "{}: more than 2 GiB in one document: cut it up, or give JSONL",
           path.string());
  }
  return content;
}

LineReader::LineReader(const Path& path) : path_(path), source_(open_input(path)) {}

bool LineReader::fill() {
  if (ended_) return false;
  constexpr size_t kLineMax = size_t{256} << 20;
  buffer_.erase(0, position_);
  position_ = 0;
  if (buffer_.size() > kLineMax)
    fail(ErrorCode::kCorrupt, "{}: line {} is longer than 256 MiB", path_.string(), number_ + 1);
  const size_t old_size = buffer_.size();
  buffer_.resize(old_size + (1 << 18));
  const size_t count = source_->read(std::span(buffer_).subspan(old_size));
  buffer_.resize(old_size + count);
  ended_ = count == 0;
  return !ended_;
}

bool LineReader::next(std::string& line) {
  size_t searched = position_;
  while (true) {
    const size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line.assign(buffer_, position_, end - position_);
      position_ = end + 1;
      break;
    }
    searched = buffer_.size() - position_;
    if (fill()) continue;
    if (position_ == buffer_.size()) return false;
    line.assign(buffer_, position_);
    position_ = buffer_.size();
    break;
  }
  if (!line.empty() && line.back() == '\r') line.pop_back();
  ++number_;
  return true;
}

bool is_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

std::string content_extension(const Path& path) {
  Path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  std::string extension = name.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

}  // namespace dure
