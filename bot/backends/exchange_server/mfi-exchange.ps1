<#
.SYNOPSIS
Writes what mfi wants to know about this Exchange organisation into a drop folder, and obeys mfi's signed orders.

.DESCRIPTION
For Windows PowerShell 5.1 on a server (or management host) with the Exchange Management Shell, run by Task Scheduler.
Each run writes one JSON document, whole or not at all: a temporary file that is renamed when it is complete.

Without -KeyFile it only reads. With it, it also looks for order files in <Drop>\orders and does what they say, if an
order is signed with the key (HMAC-SHA256 over its exact bytes), has not expired, was never done before and holds known
steps only. What became of an order is a signed file in <Drop>\results. Each step is a wish for a state, and read back.

.PARAMETER Drop
The folder that mfi reads. The account of this task needs to write there, that of mfi to read; to act, mfi has to write
into its sub-folder orders.
.PARAMETER KeyFile
The shared key: 64 or more hexadecimal digits. Only the account of this task may read the file.
.PARAMETER StateFolder
What has to survive between two runs: ids of orders that were done, the directory as it was read last. Not in -Drop.
.PARAMETER StaySeconds
Stay for so long and look for orders every two seconds. 50 fits a task that starts every minute.
.PARAMETER MaxMessages
List at most so many messages. A queue that was not listed whole is named as such.
.PARAMETER DirectoryHours
Also list every SMTP address of the accepted domains, read again after so many hours. 0: no directory.
.PARAMETER SkipServers
Transport servers that can't be asked from here (subscribed Edge servers).
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)][string]$Drop,
    [string]$KeyFile = '',
    [string]$StateFolder = (Join-Path $env:ProgramData 'mfi-exchange'),
    [ValidateRange(0, 3600)][int]$StaySeconds = 0,
    [ValidateRange(1, 1000000)][int]$MaxMessages = 100000,
    [ValidateRange(0, 168)][int]$DirectoryHours = 0,
    [string[]]$SkipServers = @()
)

$ErrorActionPreference = 'Stop'
$FormatVersion = 1
$ScriptVersion = '1.0.0'
$LongestOrder = 1024 * 1024
$LongestLife = [TimeSpan]::FromMinutes(15)
$KnownSteps = @('reject_messages', 'set_connector_enabled', 'set_domain_type', 'retry_queue')
# powershell.exe -File passes a list as one word.
$SkipServers = @($SkipServers | ForEach-Object { $_ -split '[,\s]+' } | Where-Object { $_ -ne '' })
$Utf8 = New-Object System.Text.UTF8Encoding($false)
$Invariant = [System.Globalization.CultureInfo]::InvariantCulture

# Values: everything becomes text, and moments become ISO 8601 in UTC.

function ConvertTo-Text($Value) {
    if ($null -eq $Value) { return '' }
    return [string]$Value
}

function ConvertTo-Utc($Value) {
    if ($Value -is [datetime]) { return $Value.ToUniversalTime() }
    return [DateTimeOffset]::Parse([string]$Value, $Invariant, [System.Globalization.DateTimeStyles]::AssumeUniversal).UtcDateTime
}

function ConvertTo-Moment($Value) {
    if ($null -eq $Value -or [string]$Value -eq '') { return $null }
    return (ConvertTo-Utc $Value).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", $Invariant)
}

function ConvertTo-List($Values) {
    return , @(foreach ($one in $Values) { if ($null -ne $one) { [string]$one } })
}

function Get-Field($Object, [string]$Name) {
    $property = $Object.PSObject.Properties[$Name]
    if ($null -eq $property) { return $null }
    return $property.Value
}

# Signatures.

function Read-Key {
    if ($KeyFile -eq '') { return $null }
    foreach ($rule in (Get-Acl -LiteralPath $KeyFile).GetAccessRules($true, $true, [System.Security.Principal.SecurityIdentifier])) {
        $everybody = @('S-1-1-0', 'S-1-5-11', 'S-1-5-32-545') -contains $rule.IdentityReference.Value
        if ($everybody -and $rule.AccessControlType -eq [System.Security.AccessControl.AccessControlType]::Allow) {
            throw "Everybody may read $KeyFile. Only the account of this task should: icacls `"$KeyFile`" /inheritance:r /grant:r `"${env:USERDOMAIN}\${env:USERNAME}:R`""
        }
    }
    $text = [System.IO.File]::ReadAllText($KeyFile).Trim()
    if ($text -notmatch '^([0-9A-Fa-f]{2}){32,128}$') { throw "$KeyFile has to hold 64 to 256 hexadecimal digits and nothing else." }
    $bytes = New-Object byte[] ($text.Length / 2)
    for ($i = 0; $i -lt $bytes.Length; $i++) { $bytes[$i] = [Convert]::ToByte($text.Substring(2 * $i, 2), 16) }
    return , $bytes
}

function Get-Mac($Content) {
    $hmac = New-Object System.Security.Cryptography.HMACSHA256 -ArgumentList (, $script:Key)
    try { return [BitConverter]::ToString($hmac.ComputeHash($Content)).Replace('-', '').ToLowerInvariant() }
    finally { $hmac.Dispose() }
}

function Test-Same([string]$One, [string]$Other) {
    if ($One.Length -ne $Other.Length) { return $false }
    $difference = 0
    for ($i = 0; $i -lt $One.Length; $i++) { $difference = $difference -bor ([int]$One[$i] -bxor [int]$Other[$i]) }
    return ($difference -eq 0)
}

# Reading. What can't be read is noted in $script:Errors; a part with an error is not complete.

function Add-Problem([string]$Part, [string]$Where, $Problem) {
    $text = ([string]$Problem -replace '\s+', ' ')
    if ($text.Length -gt 500) { $text = $text.Substring(0, 500) }
    [void]$script:Errors.Add([ordered]@{ part = $Part; where = $Where; text = $text })
}

function Get-RecipientRow($Recipient) {
    $address = Get-Field $Recipient 'Address'
    if ($null -ne $address) {
        return [ordered]@{
            Address   = ConvertTo-Text $address
            Type      = ConvertTo-Text (Get-Field $Recipient 'Type')
            Status    = ConvertTo-Text (Get-Field $Recipient 'Status')
            LastError = ConvertTo-Text (Get-Field $Recipient 'LastError')
        }
    }
    # Remoting may flatten a recipient into address;type;status;error;...;connector;...
    $parts = ([string]$Recipient).Trim('{', '}').Split(';')
    $problem = ''
    if ($parts.Length -ge 7) { $problem = $parts[3..($parts.Length - 4)] -join ';' }
    return [ordered]@{ Address = $parts[0]; Type = ''; Status = ''; LastError = $problem }
}

function Get-MessageRow($Message) {
    return [ordered]@{
        Identity          = ConvertTo-Text $Message.Identity
        Queue             = ConvertTo-Text $Message.Queue
        FromAddress       = ConvertTo-Text $Message.FromAddress
        Recipients        = @(foreach ($one in $Message.Recipients) { Get-RecipientRow $one })
        InternetMessageId = ConvertTo-Text $Message.InternetMessageId
        Size              = ConvertTo-Text $Message.Size
        Status            = ConvertTo-Text $Message.Status
        DateReceived      = ConvertTo-Moment $Message.DateReceived
        ExpirationTime    = ConvertTo-Moment $Message.ExpirationTime
        LastError         = ConvertTo-Text $Message.LastError
        RetryCount        = ConvertTo-Text $Message.RetryCount
    }
}

function Get-QueueRow($Queue) {
    return [ordered]@{
        Identity         = ConvertTo-Text $Queue.Identity
        DeliveryType     = ConvertTo-Text $Queue.DeliveryType
        Status           = ConvertTo-Text $Queue.Status
        MessageCount     = [int]$Queue.MessageCount
        NextHopDomain    = ConvertTo-Text $Queue.NextHopDomain
        NextHopCategory  = ConvertTo-Text (Get-Field $Queue 'NextHopCategory')
        NextHopConnector = ConvertTo-Text $Queue.NextHopConnector
        TlsDomain        = ConvertTo-Text (Get-Field $Queue 'TlsDomain')
        LastError        = ConvertTo-Text $Queue.LastError
        LastRetryTime    = ConvertTo-Moment $Queue.LastRetryTime
        NextRetryTime    = ConvertTo-Moment $Queue.NextRetryTime
        RetryCount       = ConvertTo-Text (Get-Field $Queue 'RetryCount')
        Listed           = 0
        Complete         = $true
    }
}

function Get-ConnectorRow($Connector) {
    return [ordered]@{
        Name                   = ConvertTo-Text $Connector.Name
        Guid                   = ConvertTo-Text $Connector.Guid
        Enabled                = [bool]$Connector.Enabled
        AddressSpaces          = ConvertTo-List $Connector.AddressSpaces
        SmartHosts             = ConvertTo-List $Connector.SmartHosts
        DNSRoutingEnabled      = [bool]$Connector.DNSRoutingEnabled
        Port                   = ConvertTo-Text $Connector.Port
        RequireTLS             = [bool]$Connector.RequireTLS
        IgnoreSTARTTLS         = [bool](Get-Field $Connector 'IgnoreSTARTTLS')
        TlsAuthLevel           = ConvertTo-Text (Get-Field $Connector 'TlsAuthLevel')
        TlsDomain              = ConvertTo-Text (Get-Field $Connector 'TlsDomain')
        SourceTransportServers = ConvertTo-List $Connector.SourceTransportServers
        WhenChangedUTC         = ConvertTo-Moment (Get-Field $Connector 'WhenChangedUTC')
    }
}

function Get-DomainRow($Domain) {
    return [ordered]@{
        DomainName      = ConvertTo-Text $Domain.DomainName
        DomainType      = ConvertTo-Text $Domain.DomainType
        MatchSubDomains = [bool](Get-Field $Domain 'MatchSubDomains')
        Guid            = ConvertTo-Text $Domain.Guid
    }
}

function Write-Rows($Writer, $Rows, [ref]$Any) {
    for ($i = 0; $i -lt $Rows.Count; $i += 200) {
        $part = @($Rows[$i..([Math]::Min($i + 199, $Rows.Count - 1))])
        $json = ConvertTo-Json -InputObject $part -Compress -Depth 5
        if ($Any.Value) { $Writer.Write(',') }
        $Writer.Write($json.Substring(1, $json.Length - 2))
        $Any.Value = $true
    }
}

function Write-Part($Writer, [string]$Name, $Rows) {
    $any = $false
    $Writer.Write(',"' + $Name + '":[')
    Write-Rows $Writer $Rows ([ref]$any)
    $Writer.Write(']')
}

function Read-Part([string]$Name, [scriptblock]$Read) {
    try { return , @(& $Read) }
    catch { Add-Problem $Name '' $_; return , @() }
}

function Read-Queues($Servers) {
    $rows = New-Object System.Collections.ArrayList
    foreach ($server in $Servers) {
        try {
            foreach ($queue in @(Get-Queue -Server $server -ResultSize Unlimited -ErrorAction Stop)) {
                if ((ConvertTo-Text $queue.DeliveryType) -ne 'ShadowRedundancy') { [void]$rows.Add((Get-QueueRow $queue)) }
            }
        }
        catch { Add-Problem 'queues' $server $_ }
    }
    return , $rows
}

function Find-Queue([string]$Identity) {
    # By listing its server's queues: an empty answer then means that it is gone, and a failure is a failure.
    $server = $Identity.Split('\')[0]
    return , @(Get-Queue -Server $server -ResultSize Unlimited -ErrorAction Stop | Where-Object { [string]$_.Identity -eq $Identity })
}

function Write-Messages($Writer, $Queues) {
    $total = 0
    $any = $false
    $Writer.Write(',"messages":[')
    foreach ($queue in $Queues) {
        if ($queue.MessageCount -eq 0) { continue }
        $left = $MaxMessages - $total
        if ($left -le 0) { $queue.Complete = $false; continue }
        try { $found = @(Get-Message -Queue $queue.Identity -IncludeRecipientInfo -ResultSize ($left + 1) -ErrorAction Stop) }
        catch {
            # A queue that emptied meanwhile no longer exists; anything else is a fault.
            $problem = $_
            try { $gone = ((Find-Queue $queue.Identity).Count -eq 0) } catch { $gone = $false }
            if (-not $gone) {
                $queue.Complete = $false
                Add-Problem 'messages' $queue.Identity $problem
            }
            continue
        }
        if ($found.Count -gt $left) { $queue.Complete = $false; $found = @($found[0..($left - 1)]) }
        $queue.Listed = $found.Count
        $total += $found.Count
        Write-Rows $Writer @(foreach ($message in $found) { Get-MessageRow $message }) ([ref]$any)
    }
    $Writer.Write(']')
    return $total
}

function Update-Directory($Domains) {
    $file = Join-Path $StateFolder 'directory.json'
    if ((Test-Path -LiteralPath $file) -and ([System.IO.File]::GetLastWriteTimeUtc($file).AddHours($DirectoryHours) -gt [datetime]::UtcNow)) { return $file }
    $names = @{}
    foreach ($domain in $Domains) { if (-not $domain.DomainName.StartsWith('*')) { $names[$domain.DomainName.ToLowerInvariant()] = $true } }
    $addresses = @{}
    $begun = ConvertTo-Moment ([datetime]::UtcNow)
    Set-ADServerSettings -ViewEntireForest $true -ErrorAction Stop
    Get-Recipient -ResultSize Unlimited -WarningAction SilentlyContinue -ErrorAction Stop | ForEach-Object {
        foreach ($one in $_.EmailAddresses) {
            if ([string]$one -match '^smtp:(.+@([^@]+))$' -and $names.ContainsKey($Matches[2].ToLowerInvariant())) { $addresses[$Matches[1].ToLowerInvariant()] = $true }
        }
    }
    $writer = New-Object System.IO.StreamWriter("$file.tmp", $false, $Utf8)
    try {
        $writer.Write('{"read_at":"' + $begun + '","complete":true,"count":' + $addresses.Count)
        Write-Part $writer 'domains' @($names.Keys)
        Write-Part $writer 'addresses' @($addresses.Keys)
        $writer.Write('}')
    }
    finally { $writer.Dispose() }
    Move-Item -LiteralPath "$file.tmp" -Destination $file -Force
    return $file
}

function Write-Document {
    $script:Errors = New-Object System.Collections.ArrayList
    $started = [datetime]::UtcNow
    $path = Join-Path $Drop ('mfi-snapshot-' + $started.ToString("yyyyMMdd'T'HHmmssfff'Z'", $Invariant))
    $writer = New-Object System.IO.StreamWriter("$path.tmp", $false, $Utf8)
    try {
        $writer.Write('{"format":"mfi-exchange","version":' + $FormatVersion + ',"script":"' + $ScriptVersion + '","server":')
        $writer.Write((ConvertTo-Json -InputObject $env:COMPUTERNAME))
        $writer.Write(',"acts":' + $(if ($script:Key) { 'true' } else { 'false' }) + ',"started_at":"' + (ConvertTo-Moment $started) + '"')
        $servers = Read-Part 'servers' { foreach ($one in Get-TransportService -ErrorAction Stop) { [string]$one.Name } }
        $servers = @($servers | Where-Object { $SkipServers -notcontains $_ })
        $queues = Read-Queues $servers
        $count = Write-Messages $writer $queues
        $connectors = Read-Part 'connectors' { foreach ($one in Get-SendConnector -ErrorAction Stop) { Get-ConnectorRow $one } }
        $domains = Read-Part 'domains' { foreach ($one in Get-AcceptedDomain -ErrorAction Stop) { Get-DomainRow $one } }
        Write-Part $writer 'servers' $servers
        Write-Part $writer 'queues' $queues
        Write-Part $writer 'connectors' $connectors
        Write-Part $writer 'domains' $domains
        if ($DirectoryHours -gt 0 -and $domains.Count -gt 0) {
            try {
                $text = [System.IO.File]::ReadAllText((Update-Directory $domains))
                $writer.Write(',"directory":' + $text)
            }
            catch { Add-Problem 'directory' '' $_ }
        }
        $truncated = @($queues | Where-Object { -not $_.Complete }).Count
        $counts = [ordered]@{ servers = $servers.Count; queues = $queues.Count; messages = $count; connectors = $connectors.Count; domains = $domains.Count }
        $whole = ($script:Errors.Count -eq 0 -and $truncated -eq 0)
        $writer.Write(',"counts":' + (ConvertTo-Json -InputObject $counts -Compress))
        Write-Part $writer 'errors' $script:Errors
        $writer.Write(',"truncated":' + $(if ($truncated) { 'true' } else { 'false' }) + ',"complete":' + $(if ($whole) { 'true' } else { 'false' }))
        $writer.Write(',"finished_at":"' + (ConvertTo-Moment ([datetime]::UtcNow)) + '"}')
    }
    finally { $writer.Dispose() }
    if ($script:Key) {
        $stream = [System.IO.File]::OpenRead("$path.tmp")
        try { $mac = Get-Mac $stream } finally { $stream.Dispose() }
        [System.IO.File]::WriteAllText("$path.sig", $mac, $Utf8)
    }
    [System.IO.File]::Move("$path.tmp", "$path.json")
    Remove-Old $Drop 'mfi-snapshot-*' 5
}

function Remove-Old([string]$Folder, [string]$Pattern, [int]$Minutes) {
    $before = [datetime]::UtcNow.AddMinutes(-$Minutes)
    Get-ChildItem -LiteralPath $Folder -Filter $Pattern | Where-Object { $_.LastWriteTimeUtc -lt $before } | Remove-Item -Force -ErrorAction SilentlyContinue
}

# Acting. Each function returns what became of one step: done, partly, unknown, or failed (nothing
# happened), with a text for people.

function New-Outcome([string]$Outcome, [string]$Text) { return [ordered]@{ outcome = $Outcome; text = $Text } }

function Find-Message($Wanted) {
    $identity = [string]$Wanted.identity
    $server = $identity.Split('\')[0]
    try { return , @(Get-Message -Identity $identity -IncludeRecipientInfo -ErrorAction Stop) }
    catch {
        # It is gone, or nobody answered: the list of what its sender has in the queues tells which.
        $filter = "FromAddress -eq '" + ([string]$Wanted.sender).Replace("'", "''") + "'"
        return , @(Get-Message -Server $server -Filter $filter -IncludeRecipientInfo -ResultSize Unlimited -ErrorAction Stop | Where-Object { [string]$_.Identity -eq $identity })
    }
}

function Get-Refusal($Found, $Wanted) {
    # Why this message must not be rejected; empty: it may.
    if ([Math]::Abs(((ConvertTo-Utc $Found.DateReceived) - (ConvertTo-Utc $Wanted.received_at)).TotalSeconds) -gt 2) { return 'it is another message by now' }
    $named = @($Wanted.recipients)
    foreach ($row in @(foreach ($one in $Found.Recipients) { Get-RecipientRow $one })) {
        if ($row.Status -ne 'Complete' -and $named -notcontains $row.Address) { return 'somebody else waits for it, who is not in the order' }
    }
    if (@($Found.Recipients).Count -eq 0) { return 'its recipients can not be read' }
    return ''
}

function Invoke-Rejection($Wanted) {
    if ($Wanted.identity -notmatch '^[^\\*?]{1,64}\\[^\\*?]{1,255}\\[0-9]{1,20}$') { return 'failed', 'no identity of a message' }
    $found = Find-Message $Wanted
    if ($found.Count -eq 0) { return 'gone', '' }
    if ($found.Count -gt 1) { return 'refused', 'the identity names several messages' }
    $refusal = Get-Refusal $found[0] $Wanted
    if ($refusal -ne '') { return 'refused', $refusal }
    try {
        $null = Suspend-Message -Identity $Wanted.identity -Confirm:$false -ErrorAction Stop
        $null = Remove-Message -Identity $Wanted.identity -WithNDR $true -Confirm:$false -ErrorAction Stop
    }
    catch {
        # Let it go on waiting as before.
        $problem = [string]$_
        if ((ConvertTo-Text $found[0].Status) -ne 'Suspended') { $null = Resume-Message -Identity $Wanted.identity -Confirm:$false -ErrorAction SilentlyContinue }
        try { $left = (Find-Message $Wanted).Count } catch { return 'unknown', $problem }
        if ($left -eq 0) { return 'gone', '' }
        return 'failed', $problem
    }
    try { $left = (Find-Message $Wanted).Count } catch { return 'unknown', [string]$_ }
    if ($left -eq 0) { return 'rejected', '' }
    return 'pending', 'it is being delivered right now; Exchange rejects it if that fails'
}

function Invoke-RejectMessages($Step, [datetime]$Until) {
    $rows = New-Object System.Collections.ArrayList
    $open = 0
    $unknown = 0
    foreach ($wanted in @($Step.messages)) {
        $outcome = 'not_begun'
        $text = 'the order expired before its turn'
        if ([datetime]::UtcNow -lt $Until) {
            try { $outcome, $text = Invoke-Rejection $wanted }
            catch { $outcome = 'failed'; $text = [string]$_ }
        }
        if (@('rejected', 'gone', 'pending') -notcontains $outcome) { $open++ }
        if ($outcome -eq 'unknown') { $unknown++ }
        [void]$rows.Add([ordered]@{
                identity    = [string]$wanted.identity
                recipients  = ConvertTo-List $wanted.recipients
                sender      = [string]$wanted.sender
                received_at = ConvertTo-Moment $wanted.received_at
                expires_at  = ConvertTo-Moment $wanted.expires_at
                outcome     = [string]$outcome
                text        = [string]$text
            })
    }
    $all = $rows.Count
    if ($open -eq 0) { $result = New-Outcome 'done' "$all messages were dealt with" }
    elseif ($open -lt $all -or $unknown -gt 0) { $result = New-Outcome 'partly' "$open of $all messages were left alone" }
    else { $result = New-Outcome 'failed' "none of $all messages was rejected" }
    $result.messages = $rows
    return $result
}

function Find-Connector([string]$Guid) {
    return , @(Get-SendConnector -ErrorAction Stop | Where-Object { [string]$_.Guid -eq $Guid })
}

function Invoke-SetConnectorEnabled($Step) {
    $guid = [string]([guid]$Step.connector)
    if ($Step.enabled -isnot [bool]) { return New-Outcome 'failed' 'enabled has to be true or false' }
    $found = Find-Connector $guid
    if ($found.Count -ne 1) { return New-Outcome 'failed' "there is no send connector $guid" }
    if ([bool]$found[0].Enabled -ne $Step.enabled) { $null = Set-SendConnector -Identity $guid -Enabled $Step.enabled -Confirm:$false -ErrorAction Stop }
    $now = Find-Connector $guid
    if ($now.Count -eq 1 -and [bool]$now[0].Enabled -eq $Step.enabled) { return New-Outcome 'done' "Enabled is $($Step.enabled)" }
    return New-Outcome 'unknown' 'the change was accepted, but does not show'
}

function Find-Domain([string]$Name) {
    return , @(Get-AcceptedDomain -ErrorAction Stop | Where-Object { [string]$_.DomainName -eq $Name -or [string]$_.DomainName -eq "*.$Name" })
}

function Invoke-SetDomainType($Step) {
    if (@('Authoritative', 'InternalRelay', 'ExternalRelay') -notcontains $Step.type) { return New-Outcome 'failed' 'no type of an accepted domain' }
    $found = Find-Domain ([string]$Step.domain)
    if ($found.Count -ne 1) { return New-Outcome 'failed' "there is no single accepted domain $($Step.domain)" }
    $subdomains = [bool](Get-Field $found[0] 'MatchSubDomains') -or ([string]$found[0].DomainName).StartsWith('*')
    if ($subdomains -and $Step.type -eq 'Authoritative') { return New-Outcome 'failed' 'it matches sub-domains, which needs an internal relay domain' }
    if ([string]$found[0].DomainType -ne $Step.type) { $null = Set-AcceptedDomain -Identity ([string]$found[0].Guid) -DomainType $Step.type -Confirm:$false -ErrorAction Stop }
    $now = Find-Domain ([string]$Step.domain)
    if ($now.Count -eq 1 -and [string]$now[0].DomainType -eq $Step.type) { return New-Outcome 'done' "DomainType is $($Step.type)" }
    return New-Outcome 'unknown' 'the change was accepted, but does not show'
}

function Invoke-RetryQueue($Step) {
    $tried = 0
    foreach ($identity in @($Step.queues)) {
        if ($identity -notmatch '^[^\\*?]{1,64}\\[^\\*?]{1,255}$') { return New-Outcome 'failed' 'no identity of a queue' }
        $found = Find-Queue $identity
        if ($found.Count -ne 1) { continue }
        if ((ConvertTo-Text $found[0].DeliveryType) -eq 'Unreachable') { $null = Retry-Queue -Identity $identity -Resubmit $true -Confirm:$false -ErrorAction Stop; $tried++ }
        elseif ((ConvertTo-Text $found[0].Status) -eq 'Retry') { $null = Retry-Queue -Identity $identity -Confirm:$false -ErrorAction Stop; $tried++ }
        elseif ((ConvertTo-Text $found[0].Status) -eq 'Suspended') { return New-Outcome 'failed' "queue $identity is suspended: Resume-Queue lets it go on" }
    }
    return New-Outcome 'done' "$tried queues are tried again"
}

function Invoke-Step($Step, [datetime]$Until) {
    switch ([string]$Step.do) {
        'reject_messages' { return Invoke-RejectMessages $Step $Until }
        'set_connector_enabled' { return Invoke-SetConnectorEnabled $Step }
        'set_domain_type' { return Invoke-SetDomainType $Step }
        'retry_queue' { return Invoke-RetryQueue $Step }
    }
}

# Orders.

function Read-Order([byte[]]$Content, [string]$Id) {
    # The order, or a text that says why it is refused.
    $end = [Array]::IndexOf($Content, [byte]10)
    if ($end -ne 76) { return $null, 'it has no signature' }
    $head = [System.Text.Encoding]::ASCII.GetString($Content, 0, $end)
    if ($head -notmatch '^hmac-sha256 ([0-9a-f]{64})$') { return $null, 'it has no signature' }
    $said = $Matches[1]
    $body = New-Object byte[] ($Content.Length - $end - 1)
    [Array]::Copy($Content, $end + 1, $body, 0, $body.Length)
    if (-not (Test-Same $said (Get-Mac $body))) { return $null, 'its signature is wrong: both sides need the same key' }
    $order = ConvertFrom-Json -InputObject $Utf8.GetString($body)
    if ($order.kind -ne 'order' -or $order.version -ne $FormatVersion) { return $null, "it is no order of version $FormatVersion" }
    if ($order.id -ne $Id) { return $null, 'it is another order than its name says' }
    $issued = ConvertTo-Utc $order.issued_at
    $expires = ConvertTo-Utc $order.expires_at
    $now = [datetime]::UtcNow
    if ($expires -le $now) { return $null, 'it has expired: compare the clocks of both machines' }
    if ($issued -gt $now.AddMinutes(5) -or ($expires - $issued) -gt $LongestLife) { return $null, 'its dates make no sense: compare the clocks of both machines' }
    if (Test-Path -LiteralPath (Join-Path $StateFolder "done\$Id")) { return $null, 'it was done before' }
    foreach ($step in @($order.steps)) {
        if ($KnownSteps -notcontains $step.do) { return $null, 'it holds a step that this script does not know' }
    }
    return $order, ''
}

function Write-Result([string]$Id, $Result) {
    $body = $Utf8.GetBytes((ConvertTo-Json -InputObject $Result -Compress -Depth 8))
    $head = $Utf8.GetBytes('hmac-sha256 ' + (Get-Mac $body) + "`n")
    $path = Join-Path $Drop "results\$Id"
    [System.IO.File]::WriteAllBytes("$path.tmp", [byte[]]($head + $body))
    Move-Item -LiteralPath "$path.tmp" -Destination "$path.result" -Force
}

function Invoke-Order([string]$Path, [string]$Id) {
    $result = [ordered]@{ kind = 'result'; version = $FormatVersion; order = $Id; server = $env:COMPUTERNAME; started_at = ConvertTo-Moment ([datetime]::UtcNow); accepted = $false; refused = ''; steps = @() }
    try {
        if ((Get-Item -LiteralPath $Path).Length -gt $LongestOrder) { throw 'it is too long' }
        $order, $result.refused = Read-Order ([System.IO.File]::ReadAllBytes($Path)) $Id
    }
    catch { $order = $null; $result.refused = 'it can not be read: ' + [string]$_ }
    if ($null -ne $order) {
        # Noted before anything is done: an order that was cut off is never begun again.
        [System.IO.File]::WriteAllText((Join-Path $StateFolder "done\$Id"), '', $Utf8)
        $result.accepted = $true
        $until = ConvertTo-Utc $order.expires_at
        $stopped = $false
        $result.steps = @(foreach ($step in @($order.steps)) {
                if ($stopped -or [datetime]::UtcNow -ge $until) { $outcome = New-Outcome 'not_begun' 'a step before it failed, or the order expired' }
                else {
                    try { $outcome = Invoke-Step $step $until }
                    catch { $outcome = New-Outcome 'failed' ([string]$_) }
                }
                if ($outcome.outcome -ne 'done') { $stopped = $true }
                $outcome.do = [string]$step.do
                $outcome
            })
    }
    $result.finished_at = ConvertTo-Moment ([datetime]::UtcNow)
    Write-Result $Id $result
}

function Invoke-Orders {
    $done = 0
    foreach ($file in @(Get-ChildItem -LiteralPath (Join-Path $Drop 'orders') -Filter '*.order' | Sort-Object -Property Name)) {
        if ($file.Name -notmatch '^([0-9a-f]{32})\.order$') { continue }
        $id = $Matches[1]
        $taken = $file.FullName + '.taken'
        # Renaming takes it: mfi can't withdraw it any more, and nobody else can take it.
        try { [System.IO.File]::Move($file.FullName, $taken) } catch { continue }
        try { Invoke-Order $taken $id; $done++ }
        finally { Remove-Item -LiteralPath $taken -Force -ErrorAction SilentlyContinue }
    }
    return $done
}

# Here it begins.

if (-not (Get-Command Get-Queue -ErrorAction SilentlyContinue)) {
    # Its commands come from a module, which doesn't see $ErrorActionPreference: each call says -ErrorAction itself.
    $ErrorActionPreference = 'Continue'
    . (Join-Path $env:ExchangeInstallPath 'bin\RemoteExchange.ps1')
    Connect-ExchangeServer -auto -ClientApplication:ManagementShell
    $ErrorActionPreference = 'Stop'
}
$lock = New-Object System.Threading.Mutex($false, 'Global\mfi-exchange')
try { $mine = $lock.WaitOne(0) } catch [System.Threading.AbandonedMutexException] { $mine = $true }
if (-not $mine) { exit 0 }
try {
    $script:Key = Read-Key
    $end = [datetime]::UtcNow.AddSeconds($StaySeconds)
    foreach ($folder in @($StateFolder, (Join-Path $StateFolder 'done'), (Join-Path $Drop 'orders'), (Join-Path $Drop 'results'))) {
        if (-not (Test-Path -LiteralPath $folder)) { [void](New-Item -ItemType Directory -Path $folder) }
    }
    Remove-Old (Join-Path $StateFolder 'done') '*' 1440
    Remove-Old (Join-Path $Drop 'results') '*' 10080
    Remove-Old (Join-Path $Drop 'orders') '*' 1440
    if ($script:Key) { [void](Invoke-Orders) }
    Write-Document
    while ($script:Key -and [datetime]::UtcNow -lt $end) {
        Start-Sleep -Seconds 2
        if ((Invoke-Orders) -gt 0) { Write-Document }
    }
}
finally {
    $lock.ReleaseMutex()
    $lock.Dispose()
}
