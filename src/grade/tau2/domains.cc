// The table of domains.
#include "grade/tau2/domains.h"

namespace dure {

const std::vector<Tau2DomainRow>& tau2_domains() {
  static const std::vector<Tau2DomainRow> rows = {{"mock", tau2_mock_world},
                                                  {"telecom", tau2_telecom_world},
                                                  {"retail", tau2_retail_world},
                                                  {"airline", tau2_airline_world}};
  return rows;
}

Tau2Signature tau2_transfer() {
  return {"transfer_to_human_agents",
          "Hands the user over to a person, with a summary of the matter. Only where the user asks "
          "for it, or where policy and tools do not allow to solve the matter.",
          {{"summary", "What the user needs."}}};
}

}  // namespace dure
