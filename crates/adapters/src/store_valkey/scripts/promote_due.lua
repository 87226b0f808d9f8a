-- Makes ready what is due and lists the classes that have entries.
if promote(time_of(take())) then
  wake()
end
local classes = priority_classes(tonumber(take()))
if call('LLEN', K .. 'wait') > 0 then
  table.insert(classes, 1, 0)
end
return classes
