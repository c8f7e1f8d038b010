// Plain, gzip and zstd files as bytes, and text in lines.
#include "data/input.h"

#include <fcntl.h>
#include <simdjson.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/utf8.h"

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
      throw_if_interrupted("nothing was written");  // A pipe may never bring more.
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

// A gzip file is one member after another (RFC 1952, 2.2), as `cat a.gz b.gz` leaves it; zeros
// after the last are padding. zlib checks each member's length and CRC.
class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const Path& path) : path_(path), file_(path), input_(1 << 17) {
    fill();
    if (stream_.avail_in < 2 || input_[0] != 0x1f || input_[1] != 0x8b)
      fail(ErrorCode::kCorrupt, "{}: not a gzip file, although its name ends in .gz",
           path.string());
    constexpr int kGzipWindow = 15 + 16;
    DURE_CHECK(::inflateInit2(&stream_, kGzipWindow) == Z_OK, "zlib does not start");
  }
  ~GzipSource() override { ::inflateEnd(&stream_); }
  size_t read(std::span<char> into) override {
    constexpr size_t kAtOnce = 1 << 20;
    const auto wanted = static_cast<unsigned>(std::min(into.size(), kAtOnce));
    stream_.next_out = reinterpret_cast<Bytef*>(into.data());
    stream_.avail_out = wanted;
    while (stream_.avail_out == wanted && open_member()) inflate_some();
    return wanted - stream_.avail_out;
  }

 private:
  void fill() {
    stream_.next_in = input_.data();
    stream_.avail_in =
        static_cast<unsigned>(file_.read({reinterpret_cast<char*>(input_.data()), input_.size()}));
  }

  // False where all members are through.
  bool open_member() {
    if (inside_member_) return true;
    while (begun_ && !ended() && *stream_.next_in == 0) {
      ++stream_.next_in;
      --stream_.avail_in;
      padded_ = true;
    }
    if (ended()) return false;
    if (padded_)
      fail(ErrorCode::kCorrupt, "{}: damaged gzip file: bytes after its end", path_.string());
    ::inflateReset(&stream_);
    begun_ = true;
    inside_member_ = true;
    return true;
  }

  bool ended() {
    if (stream_.avail_in == 0) fill();
    return stream_.avail_in == 0;
  }

  void inflate_some() {
    if (ended()) fail(ErrorCode::kCorrupt, "{}: the gzip file is truncated", path_.string());
    const int code = ::inflate(&stream_, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      fail(ErrorCode::kCorrupt, "{}: damaged gzip file: {}", path_.string(),
           stream_.msg != nullptr ? stream_.msg : "zlib cannot go on");
    }
    inside_member_ = code != Z_STREAM_END;
  }

  Path path_;
  PlainSource file_;
  std::vector<Bytef> input_;
  z_stream stream_{};
  bool begun_ = false, inside_member_ = false, padded_ = false;
};

// What the first bytes of something that should be UTF-8 text give away; "" where nothing.
std::string not_text_reason(std::string_view head) {
  const auto starts = [&](std::string_view mark) { return head.starts_with(mark); };
  constexpr std::string_view kConvert = ": convert it to UTF-8 (iconv -f {0} -t UTF-8)";
  using namespace std::string_view_literals;
  std::string name;
  if (starts("\xFF\xFE\0\0"sv) || starts("\0\0\xFE\xFF"sv)) {
    name = "UTF-32";
  } else if (starts("\xFF\xFE"sv) || starts("\xFE\xFF"sv)) {
    name = "UTF-16";
  }
  if (!name.empty()) return "not UTF-8 but " + name + fmt::format(fmt::runtime(kConvert), name);
  if (starts("version https://git-lfs.github.com/"))
    return "a Git LFS pointer in place of the file: fetch it (`git lfs pull` in its repository)";
  if (starts("PK\x03\x04")) return "a zip archive (or a document that is one): unpack it";
  if (starts("PAR1")) return "a Parquet table: write its rows as JSONL";
  if (starts("\x1f\x8b"sv)) return "compressed with gzip: its name should end in .gz";
  if (starts("\x28\xb5\x2f\xfd"sv)) return "compressed with zstd: its name should end in .zst";
  const auto zeros = std::count(head.begin(), head.end(), '\0');
  if (zeros >= 2 && 4 * zeros >= std::ssize(head)) {
    const bool little = head[0] != '\0';
    name = little ? "UTF-16LE" : "UTF-16BE";
    return "not UTF-8 but binary, or UTF-16 without a byte-order mark" +
           fmt::format(fmt::runtime(kConvert), name);
  }
  return "";
}

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// Drops a byte-order mark from the beginning of a file's text; refuses what is no UTF-8 at sight.
void open_text(std::string& text, const Path& path) {
  const std::string reason = not_text_reason(std::string_view(text).substr(0, 512));
  if (!reason.empty()) fail(ErrorCode::kCorrupt, "{}: {}", path.string(), reason);
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
}

}  // namespace

namespace {

std::string lower_extension(const Path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return extension;
}

}  // namespace

std::unique_ptr<ByteSource> open_input(const Path& path) {
  const std::string extension = lower_extension(path);
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
    throw_if_interrupted("nothing was written");
    content.append(piece.data(), count);
    if (content.size() > kSizeMax)
      fail(ErrorCode::kUnsupported, "{}: more than 2 GiB in one document: cut it up, or give JSONL",
           path.string());
  }
  open_text(content, path);
  return content;
}

std::string not_utf8_reason(std::string_view text) {
  std::string reason = not_text_reason(text.substr(0, 512));
  if (!reason.empty() || is_utf8(text)) return reason;
  size_t at = 0;
  for (int length = 0; (length = utf8_length(text, at)) > 0;) at += static_cast<size_t>(length);
  return fmt::format("not UTF-8 (byte {}): convert it to UTF-8 (iconv -f ENCODING -t UTF-8)", at);
}

void require_utf8(std::string_view text, const std::string& where) {
  const std::string reason = not_utf8_reason(text);
  if (!reason.empty()) fail(ErrorCode::kCorrupt, "{}: {}", where, reason);
}

std::string read_text_input(const std::string& path) {
  const bool from_stdin = path == "-";
  const std::string where = from_stdin ? "standard input" : path;
  std::string text = from_stdin ? read_stdin() : read_input(path);
  if (from_stdin) open_text(text, where);
  require_utf8(text, where);
  return text;
}

LineReader::LineReader(const Path& path) : path_(path), source_(open_input(path)) {}

bool LineReader::fill() {
  if (ended_) return false;
  constexpr size_t kLineMax = size_t{256} << 20;
  buffer_.erase(0, position_);
  position_ = 0;
  if (buffer_.size() > kLineMax)
    fail(ErrorCode::kCorrupt, "{}: line {} is longer than 256 MiB", path_.string(), number_ + 1);
  constexpr size_t kHeadSize = 512;  // Enough for open_text().
  const size_t old_size = buffer_.size();
  buffer_.resize(old_size + (1 << 18));
  const size_t count = source_->read(std::span(buffer_).subspan(old_size));
  buffer_.resize(old_size + count);
  ended_ = count == 0;
  if (!opened_ && (ended_ || buffer_.size() >= kHeadSize)) {
    opened_ = true;
    open_text(buffer_, path_);
  }
  return !ended_;
}

bool LineReader::next(std::string& line) {
  while (!opened_) fill();
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
  const std::string outer = lower_extension(path);
  const std::string extension =
      outer == ".gz" || outer == ".zst" ? lower_extension(path.stem()) : outer;
  return extension == ".jsonlines" || extension == ".jl" ? ".jsonl" : extension;
}

}  // namespace dure
