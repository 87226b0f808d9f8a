-- A store written by version 1, as SQL. Never edit it: a newer program must load what an older one wrote.
PRAGMA journal_mode = WAL;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE agents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL,
    task_id TEXT NOT NULL,
    agent_type TEXT NOT NULL,
    repository TEXT NOT NULL,
    branch TEXT NOT NULL,
    labels TEXT,
    search TEXT NOT NULL,
    spawned_at INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    status TEXT NOT NULL,
    phase TEXT NOT NULL,
    terminal INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    not_before INTEGER,
    node TEXT,
    epoch INTEGER NOT NULL,
    version INTEGER NOT NULL,
    logged_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO "agents" VALUES(1,X'2A65B3720ED34ACFA0AD0B73B2F0F2E2','runs','worker','https://git.example/acme/widgets','main','
team=core
','runs-2a65
runs
2a65b372-0ed3-4acf-a0ad-0b73b2f0f2e2',1800000000000,1800003000000,'running','working',0,0,0,NULL,'n1',1,2,1800000011000,'{"id":"2a65b372-0ed3-4acf-a0ad-0b73b2f0f2e2","name":"runs-2a65","spec":{"taskId":"runs","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/runs/2a65b372","spawnedAt":1800000000000,"startedAt":1800000011000,"attempt":1,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"working","deadline":1800003611000}}');
INSERT INTO "agents" VALUES(2,X'25B5608F42494A5DBC15A9406BAD96A2','done','worker','https://git.example/acme/widgets','main','
team=core
','done-25b5
done
25b5608f-4249-4a5d-bc15-a9406bad96a2',1800000001000,1800003001000,'completed','settled',1,0,0,NULL,NULL,1,3,1800000012000,'{"id":"25b5608f-4249-4a5d-bc15-a9406bad96a2","name":"done-25b5","spec":{"taskId":"done","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/done/25b5608f","spawnedAt":1800000001000,"startedAt":1800000011000,"attempt":1,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"settled","status":"completed","reason":"done","at":1800000012000}}');
INSERT INTO "agents" VALUES(3,X'B51374989FC847608794CD7C886B5559','dead','worker','https://git.example/acme/widgets','main','
team=core
','dead-b513
dead
b5137498-9fc8-4760-8794-cd7c886b5559',1800000002000,1800003002000,'failed','settled',1,1,0,NULL,NULL,1,3,1800000012000,'{"id":"b5137498-9fc8-4760-8794-cd7c886b5559","name":"dead-b513","spec":{"taskId":"dead","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/dead/b5137498","spawnedAt":1800000002000,"startedAt":1800000011000,"attempt":1,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"settled","status":"failed","reason":"agent_error","error":"it went wrong","at":1800000012000}}');
INSERT INTO "agents" VALUES(4,X'24A2F39F60E8492EA9635A50288E1956','killed','worker','https://git.example/acme/widgets','main','
team=core
','killed-24a2
killed
24a2f39f-60e8-492e-a963-5a50288e1956',1800000003000,1800003003000,'killed','settled',1,0,0,NULL,NULL,1,3,1800000012000,'{"id":"24a2f39f-60e8-492e-a963-5a50288e1956","name":"killed-24a2","spec":{"taskId":"killed","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/killed/24a2f39f","spawnedAt":1800000003000,"startedAt":1800000011000,"attempt":1,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"settled","status":"killed","reason":"operator","error":"it went wrong","at":1800000012000}}');
INSERT INTO "agents" VALUES(5,X'C71F4B5886834961B600A9AB3F26AA62','backoff','worker','https://git.example/acme/widgets','main','
team=core
','backoff-c71f
backoff
c71f4b58-8683-4961-b600-a9ab3f26aa62',1800000004000,1800003004000,'running','backoff',0,0,2,1800001000000,NULL,1,3,1800000012000,'{"id":"c71f4b58-8683-4961-b600-a9ab3f26aa62","name":"backoff-c71f","spec":{"taskId":"backoff","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/backoff/c71f4b58","spawnedAt":1800000004000,"startedAt":1800000011000,"attempt":1,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"queued","cause":"backoff","until":1800001000000,"failure":{"kind":"network","message":"the remote did not answer"}}}');
INSERT INTO "agents" VALUES(6,X'1626B199CEDA4986BA5A3FE183936C73','waits','worker','https://git.example/acme/widgets','main','
team=core
','waits-1626
waits
1626b199-ceda-4986-ba5a-3fe183936c73',1800000005000,1800003005000,'spawning','queued',0,0,1,NULL,NULL,0,1,1800000005000,'{"id":"1626b199-ceda-4986-ba5a-3fe183936c73","name":"waits-1626","spec":{"taskId":"waits","agentType":"worker","gateProfile":"standard","context":{"repository":"https://git.example/acme/widgets","branch":"main","workItems":["do it"]},"priority":5,"maxRetries":3,"maxFixRounds":2,"timeoutSeconds":3600,"budget":{},"labels":{"team":"core"}},"branch":"mosaic/waits/1626b199","spawnedAt":1800000005000,"attempt":0,"fixRound":0,"runs":0,"work":{"unjudged":false},"state":{"state":"queued","cause":"admitted"}}');
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    agent BLOB,
    task TEXT,
    at INTEGER NOT NULL,
    data TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,'agent.spawned',X'2A65B3720ED34ACFA0AD0B73B2F0F2E2','runs',1800000000000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(2,'agent.spawned',X'25B5608F42494A5DBC15A9406BAD96A2','done',1800000001000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(3,'agent.spawned',X'B51374989FC847608794CD7C886B5559','dead',1800000002000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(4,'agent.spawned',X'24A2F39F60E8492EA9635A50288E1956','killed',1800000003000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(5,'agent.spawned',X'C71F4B5886834961B600A9AB3F26AA62','backoff',1800000004000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(6,'agent.spawned',X'1626B199CEDA4986BA5A3FE183936C73','waits',1800000005000,'{"k":"agent.spawned"}');
INSERT INTO "events" VALUES(7,'agent.running',X'2A65B3720ED34ACFA0AD0B73B2F0F2E2','runs',1800000011000,'{"k":"agent.running"}');
INSERT INTO "events" VALUES(8,'agent.running',X'25B5608F42494A5DBC15A9406BAD96A2','done',1800000011000,'{"k":"agent.running"}');
INSERT INTO "events" VALUES(9,'agent.completed',X'25B5608F42494A5DBC15A9406BAD96A2','done',1800000012000,'{"k":"agent.completed"}');
INSERT INTO "events" VALUES(10,'agent.running',X'B51374989FC847608794CD7C886B5559','dead',1800000011000,'{"k":"agent.running"}');
INSERT INTO "events" VALUES(11,'agent.failed',X'B51374989FC847608794CD7C886B5559','dead',1800000012000,'{"k":"agent.failed"}');
INSERT INTO "events" VALUES(12,'agent.running',X'24A2F39F60E8492EA9635A50288E1956','killed',1800000011000,'{"k":"agent.running"}');
INSERT INTO "events" VALUES(13,'agent.killed',X'24A2F39F60E8492EA9635A50288E1956','killed',1800000012000,'{"k":"agent.killed"}');
INSERT INTO "events" VALUES(14,'agent.running',X'C71F4B5886834961B600A9AB3F26AA62','backoff',1800000011000,'{"k":"agent.running"}');
INSERT INTO "events" VALUES(15,'agent.backoff',X'C71F4B5886834961B600A9AB3F26AA62','backoff',1800000012000,'{"k":"agent.backoff"}');
INSERT INTO "events" VALUES(16,'queue.paused',NULL,'x',1800000013000,'{"k":"queue.paused"}');
CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    agent BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE pause (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    by TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL
) STRICT;
INSERT INTO "pause" VALUES(1,'alice',NULL,1800000013000);
CREATE TABLE quarantine (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    why TEXT NOT NULL,
    task_id TEXT,
    agent_type TEXT,
    status TEXT,
    body BLOB
) STRICT;
CREATE TABLE tally (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ready INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    active INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    killed INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    checks INTEGER NOT NULL
) STRICT;
INSERT INTO "tally" VALUES(1,1,1,1,1,1,1,1,0);
CREATE UNIQUE INDEX agents_id ON agents (id);
CREATE UNIQUE INDEX agents_active ON agents (task_id, agent_type) WHERE terminal = 0;
CREATE INDEX agents_task ON agents (task_id);
CREATE INDEX agents_status ON agents (status);
CREATE INDEX agents_ready ON agents (rank) WHERE queue = 1;
CREATE INDEX agents_delayed ON agents (not_before) WHERE queue = 2;
CREATE INDEX agents_leased ON agents (node) WHERE node IS NOT NULL;
CREATE INDEX agents_dead ON agents (dead) WHERE dead = 1;
CREATE INDEX idempotency_at ON idempotency (at);
CREATE INDEX quarantine_id ON quarantine (id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('agents',6);
COMMIT;
