// Head, list of snapshots, blocks. Reading checks everything before the cache is touched, apart
// from the blocks' checksums, which are checked before their snapshots enter the index.
#include "engine/prefix_file.h"

#include <cstring>
#include <map>

#include "base/error.h"
#include "base/hash.h"

namespace dure {
namespace {

constexpr char kMagic[8] = {'D', 'U', 'R', 'E', 'K', 'V', '0', '1'};
// Raised whenever the bits of a forward, or what lies where in a block, change.
constexpr uint32_t kVersion = 2;

struct Head {
  char magic[8] = {};
  uint32_t version = kVersion;
  uint32_t dtype = 0;
  uint64_t model = 0;            // fingerprint
  int64_t block_tokens = 0;      // KvView::kTokens
  int64_t row_elements = 0;      // G x H
  int64_t key_tokens_ahead = 0;  // 1 with the MTP layer
  int64_t group_count = 0, snapshot_count = 0;
  int64_t list_bytes = 0;  // of the snapshots
  int64_t file_bytes = 0;
  uint64_t list_checksum = 0;  // XXH64 of groups and list
  char build[64] = {};         // text, zeros behind it
  uint64_t head_checksum = 0;  // XXH64 of what is before it
};
static_assert(sizeof(Head) == 160);

struct GroupHead {
  int64_t window_tokens = 0, block_bytes = 0;
  int64_t block_count = 0;  // in this file
};
static_assert(sizeof(GroupHead) == 24);

// Then int32 key[key_count], int32 blocks[block_count] (of each group, numbered as in this file).
struct SnapshotHead {
  uint64_t salt = 0;
  int64_t tokens = 0, key_count = 0, block_count = 0;
};
static_assert(sizeof(SnapshotHead) == 32);

template <typename T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}
std::string_view bytes_of(std::span<const int32_t> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}
std::string_view bytes_of(std::span<const uint8_t> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size()};
}

// The blocks of a file, numbered as they are first met.
class BlockList {
 public:
  explicit BlockList(int64_t group_count)
      : numbers_(static_cast<size_t>(group_count)), ids_(numbers_.size()) {}
  int32_t number(int64_t group, int32_t id) {
    auto& ids = ids_[static_cast<size_t>(group)];
    const auto [it, added] =
        numbers_[static_cast<size_t>(group)].emplace(id, static_cast<int32_t>(ids.size()));
    if (added) ids.push_back(id);
    return it->second;
  }
  const std::vector<int32_t>& ids(int64_t group) const { return ids_[static_cast<size_t>(group)]; }

 private:
  std::vector<std::map<int32_t, int32_t>> numbers_;
  std::vector<std::vector<int32_t>> ids_;
};

Head head_for(const KvCache& cache, const PrefixIndex& index, const PrefixFileModel& model) {
  Head head;
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  head.dtype = static_cast<uint32_t>(cache.options().dtype);
  head.model = model.fingerprint;
  head.block_tokens = KvView::kTokens;
  head.row_elements = cache.row_elements();
  head.key_tokens_ahead = index.key_tokens(0);
  head.group_count = cache.group_count();
  model.build.copy(head.build, sizeof(head.build) - 1);
  return head;
}

struct Item {
  SnapshotHead head;
  std::vector<int32_t> key, blocks;
};

// Reads what lies one after another; absent past the end.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}
  template <typename T>
  bool read(T& out) {
    return take(&out, sizeof(T));
  }
  bool read(std::vector<int32_t>& out, int64_t count) {
    if (count < 0 || count > static_cast<int64_t>(rest_.size() / 4)) return false;
    out.resize(static_cast<size_t>(count));
    return take(out.data(), out.size() * 4);
  }
  bool done() const { return rest_.empty(); }

 private:
  bool take(void* out, size_t count) {
    if (count > rest_.size()) return false;
    if (count > 0) std::memcpy(out, rest_.data(), count);
    rest_.remove_prefix(count);
    return true;
  }
  std::string_view rest_;
};

[[noreturn]] void refuse(const Path& path, std::string_view why) {
  fail(ErrorCode::kInvalidArgument, "{}: {}; delete it, or give another file", path.string(), why);
}

class Reader {
 public:
  Reader(const Path& path, const PrefixFileModel& model, KvCache& cache, PrefixIndex& index)
      : path_(path), file_(path), model_(model), cache_(cache), index_(index) {}

  RestoredPrefixes restore() {
    check_head();
    read_list();
    check_blocks();
    return take_snapshots();
  }

 private:
  void check_head() {
    Cursor cursor(file_.text());
    if (!cursor.read(head_) || std::memcmp(head_.magic, kMagic, sizeof(kMagic)) != 0)
      refuse(path_, "not a file of prefixes");
    if (head_.version != kVersion)
      refuse(path_, fmt::format("version {}, this program's is {}", head_.version, kVersion));
    if (xxh64(file_.text().substr(0, sizeof(Head) - 8)) != head_.head_checksum)
      refuse(path_, "its head is damaged");
    const Head here = head_for(cache_, index_, model_);
    if (std::memcmp(head_.build, here.build, sizeof(here.build)) != 0)
      refuse(path_, fmt::format("made by another program ({}) than this ({})",
                                std::string_view(head_.build), std::string_view(here.build)));
    if (head_.model != here.model)
      refuse(path_, fmt::format("made with another model (fingerprint {:016x}) than {} ({:016x})",
                                head_.model, model_.name, here.model));
    if (head_.dtype != here.dtype || head_.block_tokens != here.block_tokens ||
        head_.row_elements != here.row_elements)
      refuse(path_, "keys and values of another type or size than here");
    if (head_.key_tokens_ahead != here.key_tokens_ahead)
      refuse(path_, head_.key_tokens_ahead > 0 ? "made with drafts, here there are none"
                                               : "made without drafts, here there are some");
    if (head_.file_bytes != static_cast<int64_t>(file_.bytes().size()))
      refuse(path_, fmt::format("{} bytes where {} were written: it is cut off",
                                file_.bytes().size(), head_.file_bytes));
    if (head_.group_count != here.group_count) refuse(path_, "layers of other windows than here");
  }

  void read_list() {
    const int64_t bytes =
        head_.group_count * static_cast<int64_t>(sizeof(GroupHead)) + head_.list_bytes;
    if (head_.list_bytes < 0 || bytes > head_.file_bytes - static_cast<int64_t>(sizeof(Head)))
      refuse(path_, "its list of prefixes is damaged");
    const std::string_view list = file_.text().substr(sizeof(Head), static_cast<size_t>(bytes));
    if (xxh64(list) != head_.list_checksum) refuse(path_, "its list of prefixes is damaged");
    Cursor cursor(list);
    groups_.resize(static_cast<size_t>(head_.group_count));
    for (int64_t g = 0; g < head_.group_count; ++g) {
      GroupHead& group = groups_[static_cast<size_t>(g)];
      const KvCache::BlockKind kind = cache_.kind(g);
      if (!cursor.read(group) || group.window_tokens != kind.window_tokens ||
          group.block_bytes != kind.block_bytes)
        refuse(path_, "layers of other windows than here");
    }
    for (int64_t i = 0; i < head_.snapshot_count; ++i) {
      Item item;
      if (!cursor.read(item.head) || !cursor.read(item.key, item.head.key_count) ||
          !cursor.read(item.blocks, item.head.block_count) || !fits(item))
        refuse(path_, "its list of prefixes is damaged");
      items_.push_back(std::move(item));
    }
    if (!cursor.done()) refuse(path_, "its list of prefixes is damaged");
  }

  bool fits(const Item& item) const {
    const int64_t tokens = item.head.tokens;
    if (tokens < 1 || tokens > int64_t{1} << 40 ||
        std::ssize(item.key) != index_.key_tokens(tokens))
      return false;
    size_t at = 0;
    for (int64_t g = 0; g < head_.group_count; ++g) {
      for (int64_t n = cache_.snapshot_blocks(g, tokens); n > 0; --n, ++at) {
        if (at >= item.blocks.size() || item.blocks[at] < 0 ||
            item.blocks[at] >= groups_[static_cast<size_t>(g)].block_count)
          return false;
      }
    }
    return at == item.blocks.size();
  }

  // Each block with its checksum behind it.
  void check_blocks() {
    int64_t at = static_cast<int64_t>(sizeof(Head)) +
                 head_.group_count * static_cast<int64_t>(sizeof(GroupHead)) + head_.list_bytes;
    for (const GroupHead& group : groups_) {
      const int64_t stride = group.block_bytes + 8;
      if (group.block_count < 0 ||
          (stride > 8 && group.block_count > (head_.file_bytes - at) / stride))
        refuse(path_, "it is cut off");
      auto& blocks = blocks_.emplace_back();
      for (int64_t b = 0; b < group.block_count; ++b, at += stride) {
        const std::string_view bytes =
            file_.text().substr(static_cast<size_t>(at), static_cast<size_t>(group.block_bytes));
        uint64_t checksum = 0;
        std::memcpy(&checksum, bytes.data() + bytes.size(), 8);
        if (xxh64(bytes) != checksum) refuse(path_, fmt::format("block {} is damaged", b));
        blocks.push_back(bytes);
      }
    }
    if (at != head_.file_bytes) refuse(path_, "its size is not what its list says");
  }

  // The last used first, as far as there are free blocks; they enter the index in the old order.
  RestoredPrefixes take_snapshots() {
    std::vector<std::vector<std::optional<int32_t>>> ids;
    for (const GroupHead& group : groups_) ids.emplace_back(static_cast<size_t>(group.block_count));
    std::vector<std::pair<const Item*, KvSnapshot>> taken;
    RestoredPrefixes out;
    for (auto item = items_.rbegin(); item != items_.rend(); ++item) {
      if (!has_room(*item, ids)) {
        ++out.left_away;
        continue;
      }
      taken.emplace_back(&*item, take(*item, ids));
    }
    for (size_t g = 0; g < ids.size(); ++g)
      for (const auto& id : ids[g])
        if (id) cache_.release_block(static_cast<int64_t>(g), *id);
    for (auto it = taken.rbegin(); it != taken.rend(); ++it)
      index_.insert(it->first->key, std::move(it->second), it->first->head.salt);
    out.snapshots = std::ssize(taken);
    return out;
  }

  bool has_room(const Item& item,
                const std::vector<std::vector<std::optional<int32_t>>>& ids) const {
    size_t at = 0;
    for (int64_t g = 0; g < head_.group_count; ++g) {
      int64_t wanted = 0;
      for (int64_t n = cache_.snapshot_blocks(g, item.head.tokens); n > 0; --n, ++at)
        wanted += ids[static_cast<size_t>(g)][static_cast<size_t>(item.blocks[at])] ? 0 : 1;
      if (wanted > cache_.kind(g).free_count) return false;
    }
    return true;
  }

  KvSnapshot take(const Item& item, std::vector<std::vector<std::optional<int32_t>>>& ids) {
    std::vector<int32_t> blocks;
    size_t at = 0;
    for (int64_t g = 0; g < head_.group_count; ++g) {
      for (int64_t n = cache_.snapshot_blocks(g, item.head.tokens); n > 0; --n, ++at) {
        const auto number = static_cast<size_t>(item.blocks[at]);
        auto& id = ids[static_cast<size_t>(g)][number];
        const std::string_view bytes = blocks_[static_cast<size_t>(g)][number];
        if (!id)
          id =
              cache_.write_block(g, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
        blocks.push_back(id.value());
      }
    }
    return cache_.snapshot_of(item.head.tokens, std::move(blocks));
  }

  Path path_;
  MappedFile file_;
  const PrefixFileModel& model_;
  KvCache& cache_;
  PrefixIndex& index_;
  Head head_;
  std::vector<GroupHead> groups_;
  std::vector<Item> items_;                            // those to go first first
  std::vector<std::vector<std::string_view>> blocks_;  // of each group
};

}  // namespace

void save_prefixes(const Path& path, const PrefixFileModel& model, KvCache& cache,
                   const PrefixIndex& index) {
  BlockList blocks(cache.group_count());
  std::string list;
  Head head = head_for(cache, index, model);
  for (const PrefixIndex::Stored& stored : index.stored()) {
    std::vector<int32_t> numbers;
    for (int64_t g = 0; g < cache.group_count(); ++g) {
      for (int64_t n = cache.snapshot_blocks(g, stored.snapshot->tokens); n > 0; --n)
        numbers.push_back(blocks.number(g, stored.snapshot->blocks[numbers.size()]));
    }
    list += bytes_of(SnapshotHead{stored.salt, stored.snapshot->tokens, std::ssize(stored.key),
                                  std::ssize(numbers)});
    list += bytes_of(std::span<const int32_t>(stored.key));
    list += bytes_of(std::span<const int32_t>(numbers));
    ++head.snapshot_count;
  }
  head.list_bytes = std::ssize(list);
  std::string groups;
  head.file_bytes = static_cast<int64_t>(sizeof(Head));
  for (int64_t g = 0; g < cache.group_count(); ++g) {
    const KvCache::BlockKind kind = cache.kind(g);
    const GroupHead group{kind.window_tokens, kind.block_bytes, std::ssize(blocks.ids(g))};
    groups += bytes_of(group);
    head.file_bytes += group.block_count * (group.block_bytes + 8);
  }
  list = groups + list;
  head.file_bytes += std::ssize(list);
  head.list_checksum = xxh64(list);
  head.head_checksum = xxh64(bytes_of(head).substr(0, sizeof(Head) - 8));
  check_free_space(path, head.file_bytes);
  StagedFile file(path);
  file.write(bytes_of(head));
  file.write(list);
  for (int64_t g = 0; g < cache.group_count(); ++g) {
    for (const int32_t id : blocks.ids(g)) {
      const std::string_view bytes = bytes_of(cache.read_block(g, id));
      file.write(bytes);
      file.write(bytes_of(xxh64(bytes)));
    }
  }
  file.commit();
}

RestoredPrefixes restore_prefixes(const Path& path, const PrefixFileModel& model, KvCache& cache,
                                  PrefixIndex& index) {
  return Reader(path, model, cache, index).restore();
}

}  // namespace dure
