/**
 * The pages of the console: their place, the least role that sees them, and the key that leads there behind `g`.
 */
import type { VNode } from 'preact';
import { ALARMS_PAGE } from './pages/alarm-facts.ts';
import { AlarmsPage } from './pages/alarms.tsx';
import { ApiKeysPage } from './pages/api-keys.tsx';
import { AuditPage } from './pages/audit.tsx';
import { BlockRulesPage } from './pages/block-rules.tsx';
import { BrokerPage } from './pages/broker.tsx';
import { CertificatesPage } from './pages/certificates.tsx';
import { ClientsPage } from './pages/clients.tsx';
import { DevicesPage } from './pages/devices.tsx';
import { ListenersPage } from './pages/listeners.tsx';
import { MessagesPage } from './pages/messages.tsx';
import { OverviewPage } from './pages/overview.tsx';
import { PoliciesPage } from './pages/policies.tsx';
import { RetainedPage } from './pages/retained.tsx';
import { SendPage } from './pages/send.tsx';
import { SubscriptionsPage } from './pages/subscriptions.tsx';
import { TopicsPage } from './pages/topics.tsx';
import { TracesPage } from './pages/traces.tsx';
import { UsersPage } from './pages/users.tsx';
import type { Place } from './place.ts';
import type { Role } from './session.ts';

export interface MenuEntry {
  readonly name: string;
  readonly title: string;
  readonly group: 'Now' | 'Who may do what' | 'Broker';
  readonly role: Role;
  /** Behind `g`; '' for none. */
  readonly key: string;
  readonly page: (facts: { readonly place: Place }) => VNode;
}

export const MENU: readonly MenuEntry[] = [
  { name: 'overview', title: 'Overview', group: 'Now', role: 'viewer', key: 'o', page: OverviewPage },
  { name: 'clients', title: 'Clients', group: 'Now', role: 'viewer', key: 'c', page: ClientsPage },
  { name: 'send', title: 'Send to a device', group: 'Now', role: 'service', key: 's', page: SendPage },
  { name: 'subscriptions', title: 'Subscriptions', group: 'Now', role: 'viewer', key: 'u', page: SubscriptionsPage },
  { name: 'retained', title: 'Kept messages', group: 'Now', role: 'viewer', key: 'r', page: RetainedPage },
  { name: 'topics', title: 'Topics', group: 'Now', role: 'viewer', key: 't', page: TopicsPage },
  { name: 'messages', title: 'Messages', group: 'Now', role: 'viewer', key: 'm', page: MessagesPage },
  { name: 'traces', title: 'Traces', group: 'Now', role: 'viewer', key: '', page: TracesPage },
  { name: ALARMS_PAGE, title: 'Alarms', group: 'Now', role: 'viewer', key: 'a', page: AlarmsPage },
  { name: 'users', title: 'Users', group: 'Who may do what', role: 'viewer', key: '', page: UsersPage },
  { name: 'policies', title: 'Policies', group: 'Who may do what', role: 'viewer', key: 'p', page: PoliciesPage },
  { name: 'block-rules', title: 'Block rules', group: 'Who may do what', role: 'viewer', key: 'b', page: BlockRulesPage },
  { name: 'devices', title: 'Devices', group: 'Who may do what', role: 'viewer', key: 'd', page: DevicesPage },
  { name: 'certificates', title: 'Certificates', group: 'Who may do what', role: 'viewer', key: '', page: CertificatesPage },
  { name: 'api-keys', title: 'API keys', group: 'Who may do what', role: 'viewer', key: 'k', page: ApiKeysPage },
  { name: 'listeners', title: 'Listeners', group: 'Broker', role: 'viewer', key: 'l', page: ListenersPage },
  { name: 'broker', title: 'Broker', group: 'Broker', role: 'viewer', key: '', page: BrokerPage },
  { name: 'audit', title: 'Audit log', group: 'Broker', role: 'viewer', key: '', page: AuditPage },
];
