// comm/group.h: collectives: what a number of ranks do together, in one order of calls.
//
// Every member calls the same functions in the same order. Sums are taken in one tree over the
// members in order: pairs (0, 1), (2, 3), ..., level by level, an odd last one carried up; so they
// do not depend on the backend, on timing, or on which rank asks (docs/ranks.md). Written once over
// Transport::exchange(). Values are of the host; device memory is staged by the caller. Not here:
// how bytes travel (transport.h), how many ranks there are and which axes they form (ranks.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "comm/transport.h"

namespace dure {

// Of this rank, to and from other ranks; a message to oneself is none.
struct Traffic {
  int64_t sent_bytes = 0, received_bytes = 0;
  int64_t messages = 0;  // sent
  double wait_s = 0;     // in exchanges
  Traffic& operator+=(const Traffic& other);
};

// values[0] becomes the sum of all, in the tree above; the others are used up. All of one length.
void tree_sum(std::span<const std::span<float>> values);
void tree_sum(std::span<const std::span<double>> values);
void tree_sum(std::span<const std::span<int64_t>> values);

// Elements of one member's share that travel together in a reduce-scatter, or an all-gather in
// pieces: bounds the room for what arrives.
constexpr int64_t kRoundElements = int64_t{1} << 18;

class Group {
 public:
  // One rank alone: every collective is what it is for one, and costs nothing.
  static Group& alone();

  // `members`: ranks of the transport, ascending, this one among them. Groups that share ranks have
  // channels of their own.
  Group(Transport& transport, std::vector<int> members, int channel, double limit_s = 0);
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }  // within the group
  int size() const { return static_cast<int>(members_.size()); }
  bool is_first() const { return rank_ == 0; }
  std::string name_of(int rank) const;  // "rank 3 (node7)", as the launcher numbers them
  const Traffic& traffic() const { return traffic_; }
  // What the program is at, for messages: "step 12".
  void set_place(std::string place) { place_ = std::move(place); }
  // Whether a thread of its own may work in this group beside others in theirs. Who waits for such
  // a thread adds what it waited.
  bool any_thread() const { return transport_ == nullptr || transport_->any_thread(); }
  void add_wait(double seconds) { traffic_.wait_s += seconds; }

  void barrier();

  // Every member gets the sum over the members.
  template <typename T>
  void all_reduce(std::span<T> values, std::string_view what);
  // values: parts of counts[0], counts[1], ... elements side by side; `own` (counts[rank]) becomes
  // the sum of the members' parts for this rank. `own` may be that part of `values`.
  template <typename T>
  void reduce_scatter(std::span<const T> values, std::span<const int64_t> counts, std::span<T> own,
                      std::string_view what);
  // The same in pieces as they are summed: take(first, sums) of the elements of this rank's part.
  template <typename T>
  using TakePart = std::function<void(int64_t first, std::span<const T> values)>;
  template <typename T>
  void reduce_scatter(std::span<const T> values, std::span<const int64_t> counts,
                      const TakePart<T>& take, std::string_view what);
  // In pieces: take(member, first, values) of the elements of each other member's part.
  template <typename T>
  using TakeShare = std::function<void(int member, int64_t first, std::span<const T> values)>;
  template <typename T>
  void all_gather(std::span<const T> own, std::span<const int64_t> counts, const TakeShare<T>& take,
                  std::string_view what);
  // all: counts[0], counts[1], ... elements side by side; `own` may be its part of `all`.
  template <typename T>
  void all_gather(std::span<const T> own, std::span<const int64_t> counts, std::span<T> all,
                  std::string_view what);
  // The bytes of each member, whatever their number.
  std::vector<std::string> all_gather_text(std::string_view own, std::string_view what);
  // Part r of `send` goes to member r; part r of `receive` comes from it.
  template <typename T>
  void all_to_all(std::span<const T> send, std::span<const int64_t> send_counts,
                  std::span<T> receive, std::span<const int64_t> receive_counts,
                  std::string_view what);
  void send(int to, std::span<const std::byte> bytes, std::string_view what);
  void receive(int from, std::span<std::byte> bytes, std::string_view what);
  // Sends without waiting for who receives. Checked: not to oneself.
  void post(int to, std::vector<std::byte> bytes);

  // All or none: each member says what failed on it ("" for nothing). Where any did, all throw a
  // RankFailure that names the first of them, its host and its words.
  void agree(const std::string& failure, ErrorCode code, std::string_view what);
  // Calls work() here, then agrees on how it went: what it throws becomes every member's Error.
  template <typename Work>
  void together(std::string_view what, Work&& work);
  // Whether any member says so.
  bool any(bool mine, std::string_view what);
  // What the first member says.
  int64_t first_says(int64_t mine, std::string_view what);

  // The collectives' ground, for those who stage their own memory: members instead of ranks, a
  // message to oneself allowed.
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in, std::string_view what);
  // Its first half: what is sent and received stays until wait(), which every Started needs; others
  // may be under way meanwhile.
  class Started {
   public:
    void advance();
    void wait();
    // One look of that wait: whether all is done. The limit counts from the start.
    bool look();

   private:
    friend class Group;
    Group* group_ = nullptr;
    std::unique_ptr<Underway> underway_;  // null: nothing travels
    std::string where_;
  };
  Started start(std::span<const Outgoing> out, std::span<const Incoming> in, std::string_view what);

  // What other groups of the same ranks are made from (mesh.h). Null: of one rank alone.
  Transport* transport() const { return transport_; }
  std::span<const int> members() const { return members_; }  // as the transport numbers them
  int channel() const { return channel_; }
  double limit_s() const { return limit_s_; }

 private:
  Group() : members_{0} {}
  std::string where(std::string_view what) const;

  Transport* transport_ = nullptr;
  std::vector<int> members_;
  int channel_ = 0;
  int rank_ = 0;
  double limit_s_ = 0;
  std::string place_;
  Traffic traffic_;
};

// Throws kInvalidArgument naming the first member that says otherwise than the first one: "NAME
// differs between ranks: ...; HINT".
void require_alike(Group& group, std::string_view name, std::string_view mine,
                   std::string_view hint);

template <typename Work>
void Group::together(std::string_view what, Work&& work) {
  std::string failure;
  ErrorCode code = ErrorCode::kIo;
  try {
    work();
  } catch (const RankFailure&) {
    throw;
  } catch (const Error& error) {
    failure = error.what();
    code = error.code();
    if (size() == 1) throw;
  }
  agree(failure, code, what);
}

}  // namespace dure
