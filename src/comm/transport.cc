// The sentences in which a rank that failed, or is silent, is named.
#include "comm/transport.h"

namespace dure {

std::string rank_name(const Transport& transport, int rank) {
  return fmt::format("rank {} ({})", rank, transport.host(rank));
}

void throw_heard(const Transport& transport, const FailureNotice& notice) {
  throw RankFailure(notice.code, notice.rank, /*heard=*/true,
                    fmt::format("{}: {}", rank_name(transport, notice.rank), notice.text));
}

void throw_gone(const Transport& transport, int rank, const WaitFacts& facts) {
  throw RankFailure(ErrorCode::kIo, rank, /*heard=*/false,
                    fmt::format("{} died ({})", rank_name(transport, rank), facts.what));
}

void throw_silent(const Transport& transport, int rank, const WaitFacts& facts) {
  throw RankFailure(
      ErrorCode::kIo, rank, /*heard=*/false,
      fmt::format("{} has not answered {} for {:.6g} s ({}): it hangs, or the limit is too short "
                  "(ranks.limit_s); start again to go on from the last checkpoint",
                  rank_name(transport, rank), rank_name(transport, transport.rank()), facts.limit_s,
                  facts.what));
}

}  // namespace dure
