BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('messaging_0001');
INSERT INTO "alembic_version" VALUES('secure_email_0001');
INSERT INTO "alembic_version" VALUES('interactions_0001');
CREATE TABLE api_keys (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	hash VARCHAR(64) NOT NULL, 
	roles JSON NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_api_keys PRIMARY KEY (id), 
	CONSTRAINT uq_api_keys_tenant_name UNIQUE (tenant, name), 
	CONSTRAINT uq_api_keys_hash UNIQUE (hash), 
	CONSTRAINT fk_api_keys_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
CREATE TABLE attempts (
	delivery INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	at_ms BIGINT NOT NULL, 
	duration_ms INTEGER NOT NULL, 
	status INTEGER NOT NULL, 
	error TEXT NOT NULL, 
	body BLOB NOT NULL, 
	CONSTRAINT pk_attempts PRIMARY KEY (delivery, number), 
	CONSTRAINT fk_attempts_delivery FOREIGN KEY(delivery) REFERENCES deliveries (id) ON DELETE CASCADE
);
CREATE TABLE deliveries (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	event INTEGER NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	endpoint VARCHAR(32) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	replayed_after INTEGER DEFAULT '0' NOT NULL, 
	next_ms BIGINT NOT NULL, 
	lease_owner VARCHAR(32) DEFAULT '' NOT NULL, 
	lease_until_ms BIGINT DEFAULT '0' NOT NULL, 
	status INTEGER DEFAULT '0' NOT NULL, 
	error TEXT DEFAULT '' NOT NULL, 
	finished_ms BIGINT, 
	CONSTRAINT uq_deliveries_event_endpoint UNIQUE (event, endpoint), 
	CONSTRAINT fk_deliveries_event FOREIGN KEY(event) REFERENCES outbox_events (id) ON DELETE CASCADE
);
CREATE TABLE endpoints (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	url TEXT NOT NULL, 
	secrets TEXT NOT NULL, 
	types TEXT NOT NULL, 
	media TEXT NOT NULL, 
	headers TEXT NOT NULL, 
	description TEXT NOT NULL, 
	concurrency INTEGER NOT NULL, 
	enabled SMALLINT NOT NULL, 
	disabled_reason TEXT NOT NULL, 
	policy TEXT NOT NULL, 
	owner VARCHAR(64) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	failing_since_ms BIGINT, 
	CONSTRAINT pk_endpoints PRIMARY KEY (id), 
	CONSTRAINT fk_endpoints_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "endpoints" VALUES('ep_5288eb18a5658bbde8330edd','acme','https://crm.example.com/hook','[["whsec_not-base64!", null]]','["interaction.started"]','[]','{}','',0,1,'','["200", 0, false]','',1795970688602,NULL);
INSERT INTO "endpoints" VALUES('ep_177f52b8fa2bb060629210a0','acme','','[["whsec_1H69EvYqRugb5PDrlDr3XiEe9bwzkbA88cHtt809RIs=", null]]','[]','[]','{}','webhook of the messaging channel support-sms',0,0,'the channel has no webhook','["2xx", 10000, true]','messaging',1795970688650,NULL);
CREATE TABLE interaction_positions (
	tenant VARCHAR(64) NOT NULL, 
	position BIGINT NOT NULL, 
	CONSTRAINT pk_interaction_positions PRIMARY KEY (tenant), 
	CONSTRAINT fk_interaction_positions_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "interaction_positions" VALUES('acme',45);
CREATE TABLE interactions (
	tenant VARCHAR(64) NOT NULL, 
	id VARCHAR(255) NOT NULL, 
	service VARCHAR(64) NOT NULL, 
	external_id VARCHAR(255), 
	media VARCHAR(64) NOT NULL, 
	subtype VARCHAR(64) NOT NULL, 
	state VARCHAR(12) NOT NULL, 
	parent_id VARCHAR(255), 
	received_at VARCHAR(64), 
	user_data TEXT NOT NULL, 
	created_ms BIGINT NOT NULL, 
	stopped_ms BIGINT, 
	reason_name VARCHAR(255) DEFAULT '' NOT NULL, 
	reason_text TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_interactions PRIMARY KEY (tenant, id), 
	CONSTRAINT uq_interactions_external UNIQUE (tenant, service, external_id), 
	CONSTRAINT fk_interactions_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "interactions" VALUES('acme','c4','',NULL,'voice','InboundNew','stopped',NULL,NULL,'{}',1773133507000,1773133507000,'','');
INSERT INTO "interactions" VALUES('acme','c9','',NULL,'chat','InboundNew','processing',NULL,NULL,'{}',1773133860000,NULL,'','');
CREATE TABLE messaging_channels (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant VARCHAR(64) NOT NULL, 
	id VARCHAR(100) NOT NULL, 
	type VARCHAR(32) NOT NULL, 
	sender_id VARCHAR(255), 
	sender_name VARCHAR(255), 
	endpoint VARCHAR(32) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	removed_ms BIGINT, 
	last_ms BIGINT DEFAULT '0' NOT NULL, 
	last_n BIGINT DEFAULT '-1' NOT NULL, 
	CONSTRAINT fk_messaging_channels_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "messaging_channels" VALUES(1,'acme','support-sms','sms',NULL,NULL,'ep_177f52b8fa2bb060629210a0',1795970688650,NULL,0,-1);
CREATE TABLE messaging_media (
	id VARCHAR(36) NOT NULL, 
	channel INTEGER NOT NULL, 
	filename VARCHAR(255) NOT NULL, 
	mimetype VARCHAR(100) NOT NULL, 
	length BIGINT NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_messaging_media PRIMARY KEY (id), 
	CONSTRAINT fk_messaging_media_channel FOREIGN KEY(channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
);
CREATE TABLE messaging_messages (
	channel INTEGER NOT NULL, 
	ms BIGINT NOT NULL, 
	n BIGINT NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	state VARCHAR(10) NOT NULL, 
	own_id VARCHAR(255), 
	receiver_id VARCHAR(255), 
	conversation VARCHAR(255) NOT NULL, 
	event BIGINT, 
	sender TEXT NOT NULL, 
	recipients TEXT NOT NULL, 
	error TEXT NOT NULL, 
	body BLOB NOT NULL, 
	created_ms BIGINT NOT NULL, 
	changed_ms BIGINT NOT NULL, 
	CONSTRAINT pk_messaging_messages PRIMARY KEY (channel, ms, n), 
	CONSTRAINT fk_messaging_messages_channel FOREIGN KEY(channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
);
CREATE TABLE messaging_receipts (
	id INTEGER NOT NULL, 
	channel INTEGER NOT NULL, 
	message_id VARCHAR(255) NOT NULL, 
	status VARCHAR(10) NOT NULL, 
	recipients TEXT NOT NULL, 
	reasons TEXT NOT NULL, 
	at_ms BIGINT NOT NULL, 
	CONSTRAINT pk_messaging_receipts PRIMARY KEY (id), 
	CONSTRAINT fk_messaging_receipts_channel FOREIGN KEY(channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
);
CREATE TABLE outbox_events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	tenant VARCHAR(64) NOT NULL, 
	type VARCHAR(64) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	media VARCHAR(64) NOT NULL, 
	operation_id VARCHAR(64) NOT NULL, 
	trace_id VARCHAR(64) NOT NULL, 
	endpoint VARCHAR(32) NOT NULL, 
	body BLOB NOT NULL, 
	at_ms BIGINT NOT NULL, 
	origin VARCHAR(32) NOT NULL, 
	dispatched SMALLINT DEFAULT '0' NOT NULL, 
	lease_owner VARCHAR(32) DEFAULT '' NOT NULL, 
	lease_until_ms BIGINT DEFAULT '0' NOT NULL, 
	CONSTRAINT fk_outbox_events_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "outbox_events" VALUES(1,'acme','interaction.finished','c4','voice','a14fab54-47f8-40ae-97a3-37280c4d3305','7d842ae45279bb2adddfd06292de0da4','',X'7B226F7065726174696F6E4964223A2261313466616235342D343766382D343061652D393761332D333732383063346433333035222C2264617461223A7B22656E746974696573223A5B7B226576656E74223A2246494E4953484544222C22656E74697479223A7B226964223A226334222C226D6564696154797065223A22766F696365222C22696E746572616374696F6E53756274797065223A22496E626F756E644E6577222C2273656C66557269223A22687474703A2F2F6C6F63616C686F73743A31383933312F6E657875732F76332F696E746572616374696F6E732F6334227D7D5D7D7D',1795970669991,'events',1,'',0);
INSERT INTO "outbox_events" VALUES(2,'acme','interaction.started','c9','chat','03028048-9119-442f-b16e-07e8c6059327','bf3e866b1f352a7bf219ce291f3e3e74','',X'7B226F7065726174696F6E4964223A2230333032383034382D393131392D343432662D623136652D303765386336303539333237222C2264617461223A7B22656E746974696573223A5B7B226576656E74223A2253544152544544222C22656E74697479223A7B226964223A226339222C226D6564696154797065223A2263686174222C22696E746572616374696F6E53756274797065223A22496E626F756E644E6577222C2273656C66557269223A22687474703A2F2F6C6F63616C686F73743A31383933312F6E657875732F76332F696E746572616374696F6E732F6339227D7D5D7D7D',1795970669992,'events',1,'',0);
CREATE TABLE outbox_revision (
	number BIGINT NOT NULL
);
INSERT INTO "outbox_revision" VALUES(3);
CREATE TABLE revision (
	id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	CONSTRAINT pk_revision PRIMARY KEY (id), 
	CONSTRAINT ck_revision_single CHECK (id = 1)
);
INSERT INTO "revision" VALUES(1,6);
CREATE TABLE roles (
	tenant VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	grants JSON NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_roles PRIMARY KEY (tenant, name), 
	CONSTRAINT fk_roles_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
INSERT INTO "roles" VALUES('acme','wall','[{"action": "subscribe", "within": ["/statistics/**", "/nexus/**"], "without": []}, {"action": "call", "within": ["/statistics/read"], "without": []}]',1795970639413);
INSERT INTO "roles" VALUES('acme','board','[{"action": "subscribe", "within": ["/desk/**"], "without": []}, {"action": "call", "within": ["/statistics/read"], "without": []}]',1795970642820);
CREATE TABLE secure_mail_attachments (
	mail INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	filename TEXT NOT NULL, 
	content_type VARCHAR(127) NOT NULL, 
	size INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	CONSTRAINT pk_secure_mail_attachments PRIMARY KEY (mail, number), 
	CONSTRAINT fk_secure_mail_attachments_mail FOREIGN KEY(mail) REFERENCES secure_mails (number) ON DELETE CASCADE
);
CREATE TABLE secure_mails (
	number INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	address VARCHAR(254) NOT NULL, 
	securebox VARCHAR(16) NOT NULL, 
	status VARCHAR(6) NOT NULL, 
	sender VARCHAR(254), 
	sender_name TEXT, 
	recipient VARCHAR(254), 
	recipient_name TEXT, 
	subject TEXT NOT NULL, 
	body_text TEXT, 
	body_html TEXT, 
	user_data TEXT NOT NULL, 
	in_reply_to VARCHAR(36), 
	interaction_id VARCHAR(36), 
	created_ms BIGINT NOT NULL, 
	read_ms BIGINT, 
	deleted_ms BIGINT, 
	closed_ms BIGINT, 
	CONSTRAINT pk_secure_mails PRIMARY KEY (number), 
	CONSTRAINT uq_secure_mails_id UNIQUE (id), 
	CONSTRAINT fk_secure_mails_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
CREATE TABLE tenants (
	name VARCHAR(64) NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_tenants PRIMARY KEY (name)
);
INSERT INTO "tenants" VALUES('acme',1795970635580);
CREATE TABLE tokens (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	subject VARCHAR(128) NOT NULL, 
	user_id VARCHAR(32), 
	hash VARCHAR(64) NOT NULL, 
	roles JSON, 
	expires_ms BIGINT, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_tokens_hash UNIQUE (hash), 
	CONSTRAINT fk_tokens_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE, 
	CONSTRAINT fk_tokens_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "tokens" VALUES('14b77d1997de','acme','admin',NULL,'7c5608c9d8575edb2260f2c9c92f1e8a74f2345d2bd1b43643c5c2e430133723','["admin"]',NULL,1795970649632);
INSERT INTO "tokens" VALUES('fa4d32756767','acme','wall',NULL,'d2569a8a02a768d9afa7cc0ef67dd736ee44d7fc71713ce4c4dccf11eed3689c','["wall"]',NULL,1795970653323);
CREATE TABLE users (
	id VARCHAR(32) NOT NULL, 
	tenant VARCHAR(64) NOT NULL, 
	name VARCHAR(128) NOT NULL, 
	password_hash VARCHAR(255) NOT NULL, 
	roles JSON NOT NULL, 
	created_ms BIGINT NOT NULL, 
	CONSTRAINT pk_users PRIMARY KEY (id), 
	CONSTRAINT uq_users_tenant_name UNIQUE (tenant, name), 
	CONSTRAINT fk_users_tenant FOREIGN KEY(tenant) REFERENCES tenants (name) ON DELETE CASCADE
);
CREATE INDEX ix_users_tenant ON users (tenant);
CREATE INDEX ix_api_keys_tenant ON api_keys (tenant);
CREATE INDEX ix_tokens_tenant ON tokens (tenant);
CREATE INDEX ix_tokens_user_id ON tokens (user_id);
CREATE INDEX ix_outbox_events_waiting ON outbox_events (id) WHERE dispatched = 0;
CREATE INDEX ix_outbox_events_order ON outbox_events (tenant, "key", id) WHERE dispatched = 0;
CREATE INDEX ix_endpoints_tenant ON endpoints (tenant, created_ms);
CREATE INDEX ix_deliveries_due ON deliveries (endpoint, next_ms) WHERE state = 'pending';
CREATE INDEX ix_deliveries_order ON deliveries (endpoint, "key", id) WHERE state = 'pending';
CREATE INDEX ix_deliveries_tenant ON deliveries (tenant, id);
CREATE INDEX ix_deliveries_finished ON deliveries (finished_ms) WHERE finished_ms IS NOT NULL;
CREATE UNIQUE INDEX uq_messaging_channels_id ON messaging_channels (tenant, id) WHERE removed_ms IS NULL;
CREATE UNIQUE INDEX uq_messaging_messages_own ON messaging_messages (channel, direction, own_id) WHERE own_id IS NOT NULL;
CREATE INDEX ix_messaging_messages_receiver ON messaging_messages (channel, receiver_id) WHERE receiver_id IS NOT NULL;
CREATE INDEX ix_messaging_messages_event ON messaging_messages (event) WHERE event IS NOT NULL;
CREATE INDEX ix_messaging_messages_state ON messaging_messages (channel, state, ms, n);
CREATE INDEX ix_messaging_messages_age ON messaging_messages (created_ms);
CREATE INDEX ix_messaging_receipts_message ON messaging_receipts (channel, message_id);
CREATE INDEX ix_messaging_receipts_age ON messaging_receipts (at_ms);
CREATE INDEX ix_messaging_media_channel ON messaging_media (channel);
CREATE INDEX ix_messaging_media_age ON messaging_media (created_ms);
CREATE INDEX ix_secure_mails_box ON secure_mails (tenant, address, securebox, number) WHERE deleted_ms IS NULL;
CREATE INDEX ix_secure_mails_deleted ON secure_mails (deleted_ms) WHERE deleted_ms IS NOT NULL;
CREATE INDEX ix_interactions_created ON interactions (tenant, created_ms, id);
CREATE INDEX ix_interactions_live ON interactions (tenant) WHERE stopped_ms IS NULL;
CREATE INDEX ix_interactions_stopped ON interactions (stopped_ms) WHERE stopped_ms IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('outbox_events',2);
INSERT INTO "sqlite_sequence" VALUES('messaging_channels',1);
COMMIT;
PRAGMA user_version = 0;
